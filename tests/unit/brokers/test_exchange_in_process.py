"""The in-process broker keeps the promises of the broker port."""

import asyncio
import datetime as dt
from decimal import Decimal

import pytest

from brokers.exchange.events import ActivityPosted
from brokers.exchange.in_process import InProcessBroker
from domain.account import ActivityKind
from domain.clock import ManualClock
from domain.errors import DuplicateOrder, OrderRejected, SendRefused
from domain.ids import ClientOrderId
from domain.orders import OrderRequest, OrderState, OrderType, Side, TimeInForce, TradeUpdate
from tests.support.exchange_world import AAPL, DAY, Market, moment

EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def broker(start: str = "10:00", partial: float = 0.0) -> tuple[InProcessBroker, ManualClock]:
    clock = ManualClock(moment(start))
    return InProcessBroker(Market(start, partial_fraction=partial).exchange, clock), clock


def request(coid: str = "a", quantity: str = "10", limit: str | None = None) -> OrderRequest:
    return OrderRequest(
        client_order_id=ClientOrderId(coid),
        strategy="test",
        session_date=DAY,
        symbol=AAPL,
        side=Side.BUY,
        quantity=Decimal(quantity),
        order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        limit_price=None if limit is None else Decimal(limit),
        time_in_force=TimeInForce.DAY,
        leg="entry",
        revision=0,
        decision_price=Decimal(100),
        reason="test",
    )


def allow() -> None:
    """Let the write go."""


async def test_guard_stops_the_order_before_the_exchange_sees_it() -> None:
    port, _ = broker()

    def refuse() -> None:
        raise SendRefused("halted")

    with pytest.raises(SendRefused):
        await port.submit(request(), guard=refuse)
    assert await port.find_order(ClientOrderId("a")) is None


async def test_refusals_are_order_rejected_and_a_used_id_is_a_duplicate() -> None:
    port, _ = broker()
    await port.submit(request(), guard=allow)

    with pytest.raises(DuplicateOrder):
        await port.submit(request(), guard=allow)
    with pytest.raises(OrderRejected) as caught:
        await port.submit(request("b", quantity="100000"), guard=allow)
    assert caught.value.code == 40310000


async def test_updates_reach_whoever_listens_in_order() -> None:
    port, clock = broker(partial=1.0)
    heard: list[TradeUpdate] = []
    ready: list[bool] = []
    listening = asyncio.create_task(
        port.run(
            on_ready=lambda: ready.append(True),
            on_update=heard.append,
            on_unreadable=lambda _: None,
            on_lost=lambda _: None,
        )
    )
    await asyncio.sleep(0)

    await port.submit(request(), guard=allow)
    clock.advance(dt.timedelta(minutes=1))
    port.settle()
    listening.cancel()

    assert ready == [True]
    assert [update.event for update in heard] == ["pending_new", "new", "partial_fill", "fill"]
    fills = [update.fill for update in heard if update.fill is not None]
    assert sum(fill.quantity for fill in fills) == 10
    assert heard[-1].order.state is OrderState.FILLED


async def test_activities_come_in_the_order_they_happened() -> None:
    port, clock = broker()
    await port.submit(request(), guard=allow)
    clock.advance(dt.timedelta(minutes=1))
    row = ActivityPosted(
        at=clock.now(), id="20221122150100000::x", kind="FEE", date=DAY, net_amount=Decimal("-0.1")
    )
    port.exchange.post(row, clock.now())

    kinds = [activity.kind for activity in await port.activities(EPOCH)]

    assert kinds == [ActivityKind.FILL, ActivityKind.FEE]
    assert await port.activities(clock.now() + dt.timedelta(seconds=1)) == []


async def test_canceled_order_is_canceling_first() -> None:
    port, clock = broker()
    order = await port.submit(request(limit="90"), guard=allow)
    clock.advance(dt.timedelta(seconds=1))

    await port.cancel(order.broker_order_id)
    pending = await port.get_order(order.broker_order_id)
    clock.advance(dt.timedelta(seconds=1))
    ended = await port.get_order(order.broker_order_id)

    assert pending is not None
    assert pending.state is OrderState.CANCELING
    assert ended is not None
    assert ended.state is OrderState.CANCELED


async def test_orders_since_a_moment_leaves_out_the_older_ones() -> None:
    port, clock = broker()
    await port.submit(request("old", limit="90"), guard=allow)
    clock.advance(dt.timedelta(hours=1))
    await port.submit(request("young", limit="90"), guard=allow)

    found = await port.orders_since(clock.now())

    assert [order.client_order_id for order in found] == ["young"]
