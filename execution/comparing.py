"""Our books beside the broker's: pure comparisons that end in named breaks."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique
from typing import Any

from domain.account import Account, Position
from domain.ids import Symbol
from domain.money import CENT, ZERO, text
from state.rows import OrderRecord

_HUNDRED = Decimal(100)
# Cash and prices are read one after the other.
_MOST_APART_PCT = Decimal(1)


@unique
class BreakKind(StrEnum):
    """What differs."""

    POSITION = "position"
    CASH = "cash"
    FILLS = "fills"  # executions that the broker counts and the ledger lacks
    ORDER = "order"  # an order of ours that the broker does not show
    REGRESSION = "regression"  # a report older than what is known
    EMPTY = "empty"  # an empty list that the account's equity contradicts
    ACTIVITY = "activity"  # a row of the broker's log that cannot be booked
    UNREAD = "unread"  # a holding that was disputed while it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One difference: ours, theirs, and what it means.

    ``at`` dates the order or the row that shows it; None where it shows at every look.
    """

    kind: BreakKind
    symbol: Symbol | None
    ours: str
    theirs: str
    detail: str
    at: dt.datetime | None = None

    @property
    def locks(self) -> bool:
        """True when the symbol may only be exited until it is gone."""
        return self.symbol is not None

    def as_json(self) -> dict[str, str | None]:
        """Return the break as plain values for JSON."""
        return {
            "kind": self.kind.value,
            "symbol": self.symbol,
            "ours": self.ours,
            "theirs": self.theirs,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """One comparison with the broker.  ``breaks`` is what two readings in a row showed.

    ``account`` and ``held`` are the last reading itself, for whoever would ask again at once;
    ``flows`` is how many deposits and withdrawals were booked then.  Once there are more, the
    high-water mark is younger than this equity.
    """

    reason: str
    started_at: dt.datetime
    finished_at: dt.datetime
    breaks: tuple[Break, ...]
    activities_booked: int
    locked: tuple[Symbol, ...]
    unlocked: tuple[Symbol, ...]
    account: Account
    held: tuple[Position, ...]
    flows: int
    open_orders: int
    cash_residual: Decimal

    @property
    def is_equal(self) -> bool:
        """True when every position and order agrees; cash is the end-of-day report's matter."""
        return not any(found.kind is not BreakKind.CASH for found in self.breaks)

    @property
    def is_list_doubtful(self) -> bool:
        """True when the list of positions is empty although the equity holds shares."""
        return is_doubtful(by_symbol(self.held), self.account)

    @property
    def unnamed_cash(self) -> Decimal | None:
        """The broker's cash less ours where nothing but cash differs: executions move it too.

        None, for nobody can tell, beside any other break, and where the broker's own figures
        do not add up: one of them is wrong.
        """
        is_sound = not self.is_list_doubtful and _adds_up(self.account, self.held)
        return self.cash_residual if self.is_equal and is_sound else None

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "reason": self.reason,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "equal": self.is_equal,
            "breaks": [found.as_json() for found in self.breaks],
            "activities_booked": self.activities_booked,
            "locked": list(self.locked),
            "unlocked": list(self.unlocked),
            "positions": len(by_symbol(self.held)),
            "open_orders": self.open_orders,
            "cash_residual": text(self.cash_residual),
        }


def _adds_up(account: Account, held: Sequence[Position]) -> bool:
    """Tell whether cash and holdings make the equity, but for prices that moved meanwhile."""
    worth = sum((position.market_value for position in held), account.cash)
    apart = abs(worth - account.equity)
    return apart.is_finite() and apart * _HUNDRED <= _MOST_APART_PCT * abs(account.equity)


def by_symbol(positions: Sequence[Position]) -> dict[Symbol, Decimal]:
    """Return the broker's quantities that are not flat."""
    return {held.symbol: held.quantity for held in positions if held.quantity != 0}


def position_breaks(
    ours: Mapping[Symbol, Decimal], theirs: Mapping[Symbol, Decimal]
) -> tuple[Break, ...]:
    """Compare share for share over the union of both books."""
    return tuple(
        Break(
            kind=BreakKind.POSITION,
            symbol=symbol,
            ours=text(ours.get(symbol, ZERO)),
            theirs=text(theirs.get(symbol, ZERO)),
            detail=(
                f"the books hold {text(ours.get(symbol, ZERO))} shares of {symbol},"
                f" the broker {text(theirs.get(symbol, ZERO))}"
            ),
        )
        for symbol in sorted(ours.keys() | theirs.keys())
        if ours.get(symbol, ZERO) != theirs.get(symbol, ZERO)
    )


def unread_breaks(symbols: Iterable[Symbol]) -> tuple[Break, ...]:
    """Name every holding that may have changed while it was read."""
    return tuple(
        Break(
            kind=BreakKind.UNREAD,
            symbol=symbol,
            ours="disputed",
            theirs="not read since",
            detail=f"an execution of {symbol} was taken back while its holding was read",
        )
        for symbol in sorted(symbols)
    )


def is_doubtful(theirs: Mapping[Symbol, Decimal], account: Account) -> bool:
    """Tell whether the list of positions is empty although the equity holds shares."""
    figures = (account.equity, account.cash)
    # Infinite less infinite is no number either, and cannot even be asked for.
    is_known = all(figure.is_finite() for figure in figures)
    return not theirs and not (is_known and abs(account.equity - account.cash) <= CENT)


def doubtful_empty(
    ours: Mapping[Symbol, Decimal], theirs: Mapping[Symbol, Decimal], account: Account
) -> tuple[Break, ...]:
    """Name every holding that vanished from an empty list which the equity contradicts."""
    if not ours or not is_doubtful(theirs, account):
        return ()
    invested = account.equity - account.cash
    return tuple(
        Break(
            kind=BreakKind.EMPTY,
            symbol=symbol,
            ours=text(quantity),
            theirs="0",
            detail=f"the broker lists no position, yet its equity holds {text(invested)} in shares",
        )
        for symbol, quantity in sorted(ours.items())
    )


def cash_break(ours: Decimal, theirs: Decimal) -> tuple[Break, ...]:
    """Compare cash to the cent."""
    if ours == theirs:
        return ()
    detail = f"cash differs by {text(theirs - ours)}: fees or transfers that are not booked yet"
    return (
        Break(
            kind=BreakKind.CASH, symbol=None, ours=text(ours), theirs=text(theirs), detail=detail
        ),
    )


def fill_breaks(incomplete: Sequence[OrderRecord]) -> tuple[Break, ...]:
    """Name every order with executions that the ledger lacks."""
    return tuple(
        Break(
            kind=BreakKind.FILLS,
            symbol=record.symbol,
            ours=text(record.booked_quantity),
            theirs=text(record.filled_quantity),
            detail=(
                f"{record.client_order_id}: {text(record.missing_quantity)} executed shares"
                " are not in the broker's activities yet"
            ),
        )
        for record in incomplete
    )
