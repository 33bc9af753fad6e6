"""Whether an order only closes what is held, as far as anybody can have been told it."""

import datetime as dt
import sqlite3
from decimal import Decimal

from domain.ids import Symbol
from domain.orders import OrderRequest
from tests.simulation.broker_orders import Execution
from tests.simulation.checkers import amendments
from tests.simulation.checkers.evidence import ZERO
from tests.simulation.truth import Truth

_TOLD_WITHIN = dt.timedelta(seconds=60)
# What happens between a look and its answer is of the same moment.
_AT_ONCE = 0.001
# An order that has ended is read by the looks alone, ten minutes apart.
_LOOKED_AT_WITHIN = dt.timedelta(minutes=11)


def closes_only(truth: Truth, db: sqlite3.Connection, request: OrderRequest) -> bool:
    """Tell whether an order can only close what is held: shares, or an oversold rest.

    Found as seed 700350: what was executed this moment nobody has told yet.
    """
    held = truth.positions.get(request.symbol, ZERO)
    known = held - _untold(truth, db, request.symbol) - _unheard(truth, request.symbol)
    return any(of * request.side.sign < 0 and request.quantity <= abs(of) for of in (held, known))


def _untold(truth: Truth, db: sqlite3.Connection, symbol: Symbol) -> Decimal:
    """Return the signed shares of executions that are not booked and that nobody told."""
    recent = [one for one in truth.executions if one.symbol == symbol and _may_be_new(truth, one)]
    if not recent:
        return ZERO
    booked = set(amendments.standing(db))
    return sum(
        (one.side.sign * one.quantity for one in recent if amendments.key(one) not in booked), ZERO
    )


def _unheard(truth: Truth, symbol: Symbol) -> Decimal:
    """Return the signed shares that the broker took back this moment (found as seed 28000828).

    Or since anybody last read the holdings, where nobody told of it (found as seed 34000625).
    """
    begun = truth.clock.loop_time(truth.now() - _TOLD_WITHIN)
    read = next((entry[0] for entry in reversed(truth.log) if entry[1] == "positions"), begun)
    begun = min(begun, read - _AT_ONCE)
    return sum(
        (
            one.shares
            for one in truth.amendments
            if one.was.symbol == symbol and one.at > begun and not (one.told or one.unnamed)
        ),
        ZERO,
    )


def _may_be_new(truth: Truth, one: Execution) -> bool:
    """Found as seed 17000189: a share of a canceled order, which the stream did not tell."""
    is_streamed = (one.broker_id, one.cumulative) in truth.streamed
    is_silent = one.is_late and not is_streamed
    return truth.now() - one.at < (_LOOKED_AT_WITHIN if is_silent else _TOLD_WITHIN)
