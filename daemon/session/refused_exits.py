"""How long an exit that the broker refused is not asked for again.

A refusal mostly lasts: another order holds the shares, or the symbol is halted.  Asked for at
each look, it would use up the orders of the day, and nothing were left when it is over.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable

from domain.ids import Symbol
from domain.orders import OrderState
from risk.sizing import EXIT
from state.rows import OrderRecord

# The first one costs no look.
_FIRST_PAUSE = dt.timedelta(seconds=15)
_LONGEST_PAUSE = dt.timedelta(minutes=15)
_MOST_DOUBLINGS = 10


def held_back_exits(orders: Iterable[OrderRecord], now: dt.datetime) -> frozenset[Symbol]:
    """Return the symbols whose exits were refused so lately that they wait.

    Args:
        orders: those of the session.
        now: by the clock that dated them; what is dated later holds nothing back.
    """
    refused: dict[Symbol, list[dt.datetime]] = defaultdict(list)
    for record in orders:
        is_refused = record.state is OrderState.REJECTED and record.request.leg == EXIT
        if is_refused and not record.is_external:
            refused[record.symbol].append(record.updated_at)
    return frozenset(
        symbol
        for symbol, times in refused.items()
        if dt.timedelta(0) <= now - max(times) < _pause(len(times))
    )


def _pause(refusals: int) -> dt.timedelta:
    doubled: dt.timedelta = _FIRST_PAUSE * 2 ** min(refusals - 1, _MOST_DOUBLINGS)
    return min(doubled, _LONGEST_PAUSE)
