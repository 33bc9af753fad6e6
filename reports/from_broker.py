"""The report of the last session from the broker alone, for when the database is gone.

The broker tells its equity now and at the close before, holdings with that close's price,
and every execution and booking.  A symbol's P&L follows as in the full report: value now,
less value at the close before, less what was put in.  What it does not tell is said.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.account import Account, Activity, ActivityKind, Position
from domain.money import ZERO, cents, text
from domain.orders import BrokerOrder
from marketdata.session_calendar import prices_move_from
from reports.doubts import Closing, doubts
from reports.model import Bridge, EndOfDayReport, Row, SymbolPnl, Tomorrow

_DECISIONS = (
    "The broker does not know our decisions: no signal, forecast, sentiment, denial, incident,"
    " run or cost is in this report, and no P&L by strategy."
)
_SLIPPAGE = "Slippage is not known: the price that each order was decided on is lost."
_ONE_SET = (
    "There is no second set of books: that the bridge closes proves less than it does in a report"
    " from the database."
)
_NEVER_TOLD = (_DECISIONS, _SLIPPAGE, _ONE_SET)
MOVES_SHARES = frozenset({ActivityKind.FILL, ActivityKind.SPLIT})


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerBooks:
    """What the broker told: ``last_equity`` of the account is that of the close before.

    ``activities`` are those since.  ``is_running`` while the session is not over, ``is_closed``
    where equity and prices are those of its close, whenever that was asked for.
    """

    read_at: dt.datetime
    account: Account
    positions: Sequence[Position]
    orders: Sequence[BrokerOrder]
    activities: Sequence[Activity]
    is_running: bool = False
    is_closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """One symbol over the session; ``pnl`` is None where the broker does not tell enough."""

    symbol: str
    quantity: Decimal
    value: Decimal
    pnl: Decimal | None
    realized: Decimal | None


def from_broker(
    books: BrokerBooks, session_date: dt.date, *, mode: str, tomorrow: Tomorrow | None
) -> EndOfDayReport:
    """Build it.  ``unknown`` of the report is never empty: it says what was out of reach."""
    symbols = _symbols(books)
    account = books.account
    known = sum((one.pnl for one in symbols if one.pnl is not None), ZERO)
    lost = [one for one in symbols if one.pnl is None]
    cash = _cash(books.activities)
    change = account.equity - account.last_equity
    # Where a price is missing the symbols without it take the rest: nothing is left to check.
    rest = change - known - sum(cash.values(), ZERO) if lost else ZERO
    realized = sum((one.realized for one in symbols if one.realized is not None), ZERO)
    return EndOfDayReport(
        session_date=session_date,
        revision=0,
        mode=mode,
        account_tail=account.account_number[-4:],
        tomorrow=tomorrow,
        bridge=Bridge(
            equity_start=account.last_equity,
            equity_end=account.equity,
            realized_pnl=realized,
            unrealized_pnl_change=known + rest - realized,
            fees=-cash[ActivityKind.FEE],
            dividends=cash[ActivityKind.DIVIDEND],
            interest=cash[ActivityKind.INTEREST],
            transfers=cash[ActivityKind.TRANSFER],
            other=cash[ActivityKind.OTHER] + cash[ActivityKind.SPLIT],
        ),
        by_symbol=_by_symbol(symbols, rest),
        orders=tuple(_order(order) for order in books.orders),
        fills=_fills(books),
        denied=(),
        signals=(),
        forecasts=(),
        sentiment=(),
        runs=(),
        incidents=(),
        costs=(),
        notes=_notes(books),
        activities=tuple(
            _activity(one) for one in books.activities if one.kind is not ActivityKind.FILL
        ),
        doubts=_doubts(books, tomorrow),
        unknown=(*_unknown(symbols, lost, rest), *_NEVER_TOLD),
        equity_curve=(),
        position_curves={},
    )


def _notes(books: BrokerBooks) -> tuple[str, ...]:
    found = f"Read from the broker at {books.read_at:%Y-%m-%d %H:%M:%S} UTC"
    return (f"{found}, as of the close." if books.is_closed else f"{found}.",)


def _doubts(books: BrokerBooks, tomorrow: Tomorrow | None) -> tuple[str, ...]:
    moves = prices_move_from(tomorrow.date) if tomorrow and not books.is_closed else None
    found = doubts(
        session_date=books.read_at.date(),
        mode="",
        end={
            "equity": text(books.account.equity),
            "cash": text(books.account.cash),
            "at": books.read_at.isoformat(),
        },
        held=[
            {
                "quantity": text(one.quantity),
                "price": text(one.market_price) if one.market_price is not None else None,
            }
            for one in books.positions
        ],
        orders=[{"symbol": one.symbol, "state": one.state.value} for one in books.orders],
        fills=(),
        fees_posted=ZERO,
        closing=Closing(next_prices=moves),
    )
    return found if not books.is_running else (*found, "The session is still running.")


def _symbols(books: BrokerBooks) -> tuple[_Held, ...]:
    held: dict[str, Position] = {position.symbol: position for position in books.positions}
    moves: dict[str, list[Activity]] = defaultdict(list)
    for activity in books.activities:
        if activity.symbol is not None and activity.kind in MOVES_SHARES:
            moves[activity.symbol].append(activity)
    return tuple(
        _symbol(symbol, held.get(symbol), moves[symbol]) for symbol in sorted({*held, *moves})
    )


def _symbol(symbol: str, position: Position | None, moves: Sequence[Activity]) -> _Held:
    quantity = position.quantity if position else ZERO
    value = position.market_value if position else ZERO
    before = quantity - sum((shares_of(move) for move in moves), ZERO)
    put_in = -sum((move.net_amount for move in moves if move.kind is ActivityKind.FILL), ZERO)
    is_split = any(move.kind is ActivityKind.SPLIT for move in moves)
    price = position.previous_close if position else None
    is_unpriced = position is not None and position.market_price is None
    if before == 0 and not is_unpriced:
        pnl: Decimal | None = value - put_in
    elif is_unpriced or price is None or is_split:
        pnl = None
    else:
        pnl = value - before * price - put_in
    return _Held(
        symbol=symbol,
        quantity=quantity,
        value=value,
        pnl=pnl,
        realized=_realized(before, moves),
    )


def shares_of(move: Activity) -> Decimal:
    """Return the signed shares that an execution or a split brought."""
    quantity = move.quantity or ZERO
    return -quantity if move.side == "sell" else quantity


def _realized(before: Decimal, moves: Sequence[Activity]) -> Decimal | None:
    """Average cost over the session's own executions; None where it began with a holding."""
    fills = [move for move in moves if move.kind is ActivityKind.FILL]
    if not fills:
        return ZERO
    if before != 0 or len(fills) != len(moves):
        return None
    held, cost, realized = ZERO, ZERO, ZERO
    for fill in sorted(fills, key=lambda fill: fill.at):
        shares, price = shares_of(fill), fill.price or ZERO
        closing = min(abs(shares), abs(held)) if held * shares < 0 else ZERO
        if closing:
            out = closing if held > 0 else -closing
            realized += out * price - cost * out / held
            cost -= cost * out / held
            held -= out
            shares += out
        held, cost = held + shares, cost + shares * price
    return realized


def _cash(activities: Sequence[Activity]) -> dict[ActivityKind, Decimal]:
    return {
        kind: sum((one.net_amount for one in activities if one.kind is kind), ZERO)
        for kind in ActivityKind
        if kind is not ActivityKind.FILL
    }


def _by_symbol(symbols: Sequence[_Held], rest: Decimal) -> tuple[SymbolPnl, ...]:
    told = [_pnl(one, one.pnl) for one in symbols if one.pnl is not None]
    lost = [one for one in symbols if one.pnl is None]
    if len(lost) == 1:
        return tuple(sorted([*told, _pnl(lost[0], rest)], key=lambda one: one.symbol))
    if lost:
        names = ", ".join(one.symbol for one in lost)
        value = sum((one.value for one in lost), ZERO)
        together = SymbolPnl(
            symbol=names,
            quantity=ZERO,
            value=value,
            realized_pnl=ZERO,
            unrealized_pnl_change=rest,
        )
        told.append(together)
    return tuple(told)


def _pnl(one: _Held, pnl: Decimal) -> SymbolPnl:
    realized = one.realized if one.realized is not None else ZERO
    return SymbolPnl(
        symbol=one.symbol,
        quantity=one.quantity,
        value=one.value,
        realized_pnl=realized,
        unrealized_pnl_change=pnl - realized,
    )


def _unknown(symbols: Sequence[_Held], lost: Sequence[_Held], rest: Decimal) -> list[str]:
    found = []
    if lost:
        names = ", ".join(one.symbol for one in lost)
        found.append(
            f"The broker tells no price of the close before for {names}; what the bridge leaves,"
            f" {cents(rest):+,.2f} USD, is put down to it, so the bridge cannot be checked."
        )
    mixed = [one.symbol for one in symbols if one.realized is None]
    if mixed:
        found.append(
            f"Realized and unrealized P&L cannot be told apart for {', '.join(mixed)}: the cost of"
            " what was held before is lost. All of it is shown as unrealized."
        )
    return found


def _order(order: BrokerOrder) -> Row:
    return {
        "client_order_id": order.client_order_id,
        "broker_order_id": order.broker_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": text(order.quantity),
        "limit_price": text(order.limit_price) if order.limit_price is not None else None,
        "time_in_force": order.time_in_force,
        "state": order.state.value,
        "filled_quantity": text(order.filled_quantity),
        "filled_avg_price": (
            text(order.filled_avg_price) if order.filled_avg_price is not None else None
        ),
        "reason": None,
    }


def _fills(books: BrokerBooks) -> tuple[Row, ...]:
    ours = {order.broker_order_id: order.client_order_id for order in books.orders}
    return tuple(
        {
            "execution_id": one.activity_id,
            "client_order_id": ours.get(one.broker_order_id) if one.broker_order_id else None,
            "symbol": one.symbol,
            "side": one.side,
            "quantity": text(one.quantity or ZERO),
            "price": text(one.price or ZERO),
            "at": one.at.isoformat(),
            "decision_price": None,
            "slippage_bps": None,
            "origin": "broker",
        }
        for one in sorted(books.activities, key=lambda one: (one.at, one.activity_id))
        if one.kind is ActivityKind.FILL
    )


def _activity(one: Activity) -> Row:
    return {
        "at": one.at.isoformat(),
        "kind": one.kind.value,
        "symbol": one.symbol,
        "cash": text(one.net_amount),
        "activity_id": one.activity_id,
        "description": one.description,
        "may_explain": False,
    }
