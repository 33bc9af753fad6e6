"""The trade stream port tells one story, in process and over a socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from brokers.alpaca_stream import AlpacaTradeStream, TradeStreamSettings
from brokers.paper_server import parse_fault
from domain.orders import OrderState, TradeUpdate
from domain.secrets import Secret
from tests.support.broker_doors import PORT_DOORS, Venue, over


@dataclass
class Ears:
    """What a listener of the port was told."""

    ready: int = 0
    updates: list[TradeUpdate] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        return [update.event for update in self.updates]

    def become_ready(self) -> None:
        self.ready += 1


def stream_of(venue: Venue) -> Any:
    server = venue.server
    if server is None:
        return venue.door.broker
    return AlpacaTradeStream(
        TradeStreamSettings(url=server.stream_url, ping_interval_seconds=None),
        key_id=Secret(server.keys.key_id),
        secret_key=Secret(server.keys.secret_key),
        clock=venue.clock,
    )


@contextlib.asynccontextmanager
async def listening(venue: Venue) -> AsyncIterator[Ears]:
    ears = Ears()
    task = asyncio.create_task(
        stream_of(venue).run(
            on_ready=ears.become_ready,
            on_update=ears.updates.append,
            on_unreadable=ears.unreadable.append,
            on_lost=ears.lost.append,
        )
    )
    await venue.wait(1)
    yield ears
    # The in-process market moves when it is asked.
    await venue.door.account()
    await venue.wait(1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@over(*PORT_DOORS)
async def test_life_of_an_order_is_told_in_order(venue: Venue) -> None:
    async with listening(venue) as ears:
        await venue.door.submit("buy", "10", coid="told")
        await venue.wait(1)

    assert ears.ready == 1
    assert ears.events == ["pending_new", "new", "fill"]
    assert ears.updates[-1].order.state is OrderState.FILLED
    assert {update.order.client_order_id for update in ears.updates} == {"told"}


@over(*PORT_DOORS, partial=1.0)
async def test_fills_carry_their_own_and_the_cumulative_quantity(venue: Venue) -> None:
    async with listening(venue) as ears:
        order = await venue.door.submit("buy", "100")
        await venue.wait(5)

    fills = [update.fill for update in ears.updates if update.fill is not None]
    assert len(fills) == 2
    assert sum(fill.quantity for fill in fills) == 100
    assert [fill.cumulative_quantity for fill in fills] == [fills[0].quantity, Decimal(100)]
    assert {fill.broker_order_id for fill in fills} == {order.id}
    assert len({fill.execution_id for fill in fills}) == 2
    assert [one.price for one in await venue.door.fills()] == [fill.price for fill in fills]


@over(*PORT_DOORS)
async def test_cancel_is_told_as_pending_and_then_as_done(venue: Venue) -> None:
    async with listening(venue) as ears:
        order = await venue.door.submit("buy", "10", limit="90.00")
        await venue.wait(1)
        await venue.door.cancel(order.id)
        await venue.wait(1)

    assert ears.events == ["pending_new", "new", "pending_cancel", "canceled"]
    assert ears.updates[-1].order.state is OrderState.CANCELED


@over("alpaca_broker")
async def test_dropped_stream_is_ready_again_and_the_missed_fill_is_in_the_activities(
    venue: Venue,
) -> None:
    assert venue.server is not None
    venue.server.faults.arm(parse_fault("drop_stream:fill=1"))

    async with listening(venue) as ears:
        await venue.door.submit("buy", "10")
        await venue.wait(60)
        await venue.door.submit("buy", "10")
        await venue.wait(1)

    assert len(ears.lost) == 1
    assert ears.ready == 2
    assert ears.events == ["pending_new", "new", "pending_new", "new", "fill"]
    assert len(await venue.door.fills()) == 2


@over("alpaca_broker")
async def test_garbage_is_reported_and_the_stream_goes_on(venue: Venue) -> None:
    assert venue.server is not None
    venue.server.faults.arm(parse_fault("garbage_frame"))

    async with listening(venue) as ears:
        await venue.door.submit("buy", "10")
        await venue.wait(1)

    assert len(ears.unreadable) == 1
    assert ears.events[-1] == "fill"
