"""Whose positions a kill closes, in which session, and which orders are its own.

The ids follow from account, session and symbol, so that a second kill knows the orders of
the first.
"""

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from brokers.base import Broker
from domain.account import Position
from domain.clock import Clock
from domain.ids import ClientOrderId, Symbol, client_order_id
from domain.money import ZERO
from domain.orders import BrokerOrder

STRATEGY = "kill"
LEG = "flatten"
MOST_REVISIONS = 8
MOST_CLOSINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenScope:
    """Whose positions, for which session, whether it is open, and the broker's lock.

    ``broker_epoch`` is the broker's time at zero of our monotonic clock.
    """

    account_number: str
    session_date: dt.date
    is_open: bool
    broker_epoch: dt.datetime
    is_locked: bool = False

    def order_id(self, symbol: Symbol, revision: int) -> ClientOrderId:
        """Derive the id of one flattening order."""
        return _order_id(self.account_number, self.session_date, symbol, revision)

    def is_flattening(self, order: BrokerOrder) -> bool:
        """Tell whether an order is one of ours that closes a position in this session."""
        known = _order_ids(self.account_number, self.session_date, order.symbol)
        return order.client_order_id in known


async def read_scope(broker: Broker, clock: Clock) -> FlattenScope:
    """Ask the broker which account and session this is.

    Raises:
        BrokerUnavailable, AuthRefused: as for any read.
    """
    account = await broker.account()
    told = await broker.clock()
    edge = told.next_close if told.is_open else told.next_open
    # Regular hours never cross midnight UTC, so the date of either edge is the session's.
    return FlattenScope(
        account_number=account.account_number,
        session_date=edge.astimezone(dt.UTC).date(),
        is_open=told.is_open,
        broker_epoch=told.now - dt.timedelta(seconds=clock.monotonic()),
        is_locked=account.is_suspended_by_user,
    )


def is_done(
    scope: FlattenScope, positions: Sequence[Position], working: Sequence[BrokerOrder]
) -> bool:
    """Tell whether nothing is held, or, out of hours, every position has its closing order."""
    held = [position for position in positions if position.quantity != 0]
    if not held:
        return True
    return not scope.is_open and all(_is_covered(scope, p, working) for p in held)


def _is_covered(scope: FlattenScope, position: Position, working: Sequence[BrokerOrder]) -> bool:
    closing = sum(
        (
            (order.quantity - order.filled_quantity) * order.side.sign
            for order in working
            if order.symbol == position.symbol and scope.is_flattening(order)
        ),
        ZERO,
    )
    return position.quantity + closing == 0


def _order_id(
    account_number: str, session_date: dt.date, symbol: Symbol, revision: int
) -> ClientOrderId:
    return client_order_id(
        account=account_number,
        strategy=STRATEGY,
        session_date=session_date,
        symbol=symbol,
        leg=LEG,
        revision=revision,
    )


@functools.lru_cache(maxsize=64)
def _order_ids(
    account_number: str, session_date: dt.date, symbol: Symbol
) -> frozenset[ClientOrderId]:
    return frozenset(
        _order_id(account_number, session_date, symbol, revision)
        for revision in range(MOST_CLOSINGS * MOST_REVISIONS)
    )
