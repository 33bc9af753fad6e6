"""What the broker tells on a later day, taken back to the close of the session.

Once the day of a session is over, the account's last equity and the holdings' previous price
are those of that session's own close, and equity, cash and holdings have moved on.
"""

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from domain.account import Activity, ActivityKind, Position
from domain.ids import Symbol
from domain.money import ZERO
from reports.from_broker import MOVES_SHARES, BrokerBooks, shares_of


def as_of_close(
    books: BrokerBooks, *, equity_before: Decimal, day_ends: dt.datetime
) -> BrokerBooks:
    """Return the books at the session's close.

    Args:
        books: as they were read, with all activities until then.
        equity_before: equity at the close before.
        day_ends: what happened from then on is not the session's.
    """
    later = [one for one in books.activities if one.at >= day_ends]
    moved = sum((one.net_amount for one in later), ZERO)
    account = books.account
    return dataclasses.replace(
        books,
        account=dataclasses.replace(
            account,
            equity=account.last_equity,
            last_equity=equity_before,
            cash=account.cash - moved,
        ),
        positions=_positions(books.positions, later),
        orders=[one for one in books.orders if one.submitted_at < day_ends],
        activities=[one for one in books.activities if one.at < day_ends],
        is_closed=True,
    )


def _positions(positions: Sequence[Position], later: Sequence[Activity]) -> list[Position]:
    """Take back what moved shares since; nobody tells the price of the close before."""
    held = {one.symbol: one for one in positions}
    moves: dict[str, list[Activity]] = defaultdict(list)
    for one in later:
        if one.symbol is not None and one.kind in MOVES_SHARES:
            moves[one.symbol].append(one)
            held.setdefault(one.symbol, _gone(one.symbol))
    at_close = (_at_close(one, moves[symbol]) for symbol, one in sorted(held.items()))
    return [one for one in at_close if one.quantity]


def _at_close(position: Position, moves: Sequence[Activity]) -> Position:
    # After a split the broker may tell the price of the new shares.
    is_split = any(move.kind is ActivityKind.SPLIT for move in moves)
    return dataclasses.replace(
        position,
        quantity=position.quantity - sum((shares_of(move) for move in moves), ZERO),
        market_price=None if is_split else position.previous_close,
        previous_close=None,
    )


def _gone(symbol: Symbol) -> Position:
    return Position(symbol=symbol, quantity=ZERO, avg_entry_price=ZERO, market_price=None)
