"""Adapter and stream together against the embedded paper server, faults switched on."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.alpaca_stream import AlpacaTradeStream, TradeStreamSettings
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server import PaperServer, ServerOptions, parse_fault
from domain.clock import LoopClock
from domain.errors import BrokerUnavailable, DuplicateOrder, OutcomeUnknown, RateLimited
from domain.ids import ClientOrderId
from domain.orders import OrderRequest, OrderState, OrderType, TimeInForce, TradeUpdate
from domain.secrets import Secret
from tests.support.alpaca_words import request, simulated
from tests.support.exchange_world import AAPL, DAY, calendar, feed, moment


@dataclass
class Desk:
    """A broker, its stream and what the stream said."""

    server: PaperServer
    broker: AlpacaBroker
    clock: LoopClock
    updates: list[TradeUpdate] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def take(self, update: TradeUpdate) -> None:
        self.updates.append(update)

    @property
    def fills(self) -> list[tuple[Decimal, Decimal]]:
        return [
            (update.fill.quantity, update.fill.cumulative_quantity)
            for update in self.updates
            if update.fill is not None
        ]


@contextlib.asynccontextmanager
async def a_desk(
    directory: Path, *faults: str, per_minute: int = 200, partial: float = 0.0
) -> AsyncIterator[Desk]:
    clock = LoopClock(moment("10:00"), asyncio.get_running_loop())
    options = ServerOptions(
        requests_per_minute=per_minute, faults=tuple(parse_fault(text) for text in faults)
    )
    async with PaperServer(
        directory,
        feed=feed(),
        calendar=calendar(),
        clock=clock,
        settings=ExchangeSettings(partial_fraction=partial),
        options=options,
    ) as server:
        key_id, secret_key = Secret(server.keys.key_id), Secret(server.keys.secret_key)
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.base_url),
            key_id=key_id,
            secret_key=secret_key,
            clock=clock,
        )
        desk = Desk(server, broker, clock)
        stream = AlpacaTradeStream(
            TradeStreamSettings(url=server.stream_url, ping_interval_seconds=None),
            key_id=key_id,
            secret_key=secret_key,
            clock=clock,
        )
        task = asyncio.create_task(
            stream.run(
                on_ready=lambda: desk.calls.append("ready"),
                on_update=desk.take,
                on_unreadable=lambda _: desk.calls.append("unreadable"),
                on_lost=lambda _: desk.calls.append("lost"),
            )
        )
        await clock.sleep(1)
        try:
            yield desk
        finally:
            task.cancel()
            await asyncio.wait([task])
            await broker.aclose()


def an_order(name: str = "ob-1", quantity: int = 10, limit: str = "150") -> OrderRequest:
    return request(
        client_order_id=ClientOrderId(name),
        symbol=AAPL,
        quantity=Decimal(quantity),
        limit_price=Decimal(limit),
        session_date=DAY,
    )


def agree() -> None:
    """Let it pass."""


@simulated
async def test_an_order_is_placed_followed_and_booked_by_stream_and_activities(
    tmp_path: Path,
) -> None:
    async with a_desk(tmp_path, partial=1.0) as desk:
        order = await desk.broker.submit(an_order(), guard=agree)
        assert order.state is OrderState.LIVE
        await desk.clock.sleep(120)

        final = await desk.broker.get_order(order.broker_order_id)
        activities = await desk.broker.activities(moment("09:30"))
        [position] = await desk.broker.positions()

        assert final is not None
        assert final.state is OrderState.FILLED
        assert sum(quantity for quantity, _ in desk.fills) == 10
        assert desk.fills[-1][1] == 10
        assert len(desk.fills) > 1
        from_log = [(row.quantity, row.cumulative_quantity) for row in activities]
        assert from_log == desk.fills
        assert position.quantity == 10


@pytest.mark.parametrize("mode", ["reset", "hang", "504", "500", "502", "503"])
@simulated
async def test_a02_a10_a11_an_accepted_order_whose_answer_is_lost_is_unknown_and_then_found(
    tmp_path: Path, mode: str
) -> None:
    async with a_desk(tmp_path, f"lose_answer:order=1,mode={mode}") as desk:
        with pytest.raises(OutcomeUnknown):
            await desk.broker.submit(an_order(limit="90"), guard=agree)

        found = await desk.broker.find_order(ClientOrderId("ob-1"))

        assert found is not None
        assert found.quantity == 10
        assert sum(entry["method"] == "POST" for entry in desk.server.log) == 1
        with pytest.raises(DuplicateOrder):
            await desk.broker.submit(an_order(limit="90"), guard=agree)
        assert len(await desk.broker.open_orders()) == 1


@pytest.mark.parametrize("mode", ["503", "reset", "hang", "500", "504"])
@simulated
async def test_a01_an_order_lost_before_the_accept_is_unknown_and_then_absent(
    tmp_path: Path, mode: str
) -> None:
    async with a_desk(tmp_path, f"refuse_before_accept:mode={mode}") as desk:
        with pytest.raises(OutcomeUnknown):
            await desk.broker.submit(an_order(limit="90"), guard=agree)

        assert await desk.broker.find_order(ClientOrderId("ob-1")) is None
        resent = await desk.broker.submit(an_order(limit="90"), guard=agree)
        assert resent.client_order_id == "ob-1"


@pytest.mark.parametrize(
    "fault",
    [
        "truncated_json:method=POST",
        "html_200:method=POST",
        "crossed_answer",
        "redirect:method=POST",
        "html_502:method=POST",
        "slow_loris:method=POST,seconds=100",
    ],
)
@simulated
async def test_a16_a17_a19_a22_a24_mangled_answers_leave_the_outcome_open(
    tmp_path: Path, fault: str
) -> None:
    async with a_desk(tmp_path, fault) as desk:
        with pytest.raises(OutcomeUnknown):
            await desk.broker.submit(an_order(limit="90"), guard=agree)


@simulated
async def test_a18_one_empty_list_of_positions_is_seen_through(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        await desk.broker.submit(an_order(), guard=agree)
        await desk.clock.sleep(60)
        desk.server.faults.arm(parse_fault("empty_positions_once"))

        assert [position.quantity for position in await desk.broker.positions()] == [10]


@simulated
async def test_a26_unknown_statuses_and_fields_are_read(tmp_path: Path) -> None:
    async with a_desk(tmp_path, "unknown_status:method=POST", "extra_fields:count=0") as desk:
        order = await desk.broker.submit(an_order(limit="90"), guard=agree)

        assert order.state is OrderState.LIVE
        assert (await desk.broker.account()).equity > 0


@simulated
async def test_a04_an_order_that_is_not_visible_yet_is_absent_and_appears_later(
    tmp_path: Path,
) -> None:
    faults = ("lose_answer:order=1", "delay_visibility:seconds=5")
    async with a_desk(tmp_path, *faults) as desk:
        with pytest.raises(OutcomeUnknown):
            await desk.broker.submit(an_order(limit="90"), guard=agree)

        assert await desk.broker.find_order(ClientOrderId("ob-1")) is None
        await desk.clock.sleep(6)
        assert await desk.broker.find_order(ClientOrderId("ob-1")) is not None


@simulated
async def test_c01_c06_garbage_and_drops_on_the_stream_lose_only_what_activities_still_have(
    tmp_path: Path,
) -> None:
    async with a_desk(tmp_path, "garbage_frame:event=1", "drop_stream:event=3") as desk:
        for number in range(4):
            await desk.broker.submit(an_order(f"ob-{number}", 1), guard=agree)
            await desk.clock.sleep(30)

        activities = await desk.broker.activities(moment("09:30"))

        assert "unreadable" in desk.calls
        assert desk.calls.count("ready") == 2
        assert desk.calls.count("lost") == 1
        assert len(activities) == 4
        assert desk.updates[-1].order.state is OrderState.FILLED


@simulated
async def test_a07_a_refusal_for_now_names_its_wait(tmp_path: Path) -> None:
    async with a_desk(tmp_path, "rate_limit:count=1,seconds=7,method=POST") as desk:
        with pytest.raises(RateLimited) as caught:
            await desk.broker.submit(an_order(limit="90"), guard=agree)

        assert caught.value.retry_after_seconds == 7


@simulated
async def test_a30_five_hundred_orders_meet_no_429_and_need_two_minutes(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with a_desk(tmp_path, per_minute=200) as desk:
        await desk.clock.sleep(60)
        started = loop.time()
        orders = [an_order(f"ob-{number:03}", 1, "50") for number in range(500)]

        await asyncio.gather(*(desk.broker.submit(order, guard=agree) for order in orders))

        assert loop.time() - started <= 122
        assert all(entry.get("status") != 429 for entry in desk.server.log)
        assert len(await desk.broker.open_orders()) == 500


@simulated
async def test_a31_a_broker_that_is_away_fails_reads_and_comes_back(tmp_path: Path) -> None:
    async with a_desk(tmp_path, "html_502:method=GET,count=3") as desk:
        with pytest.raises(BrokerUnavailable):
            await desk.broker.account()

        assert (await desk.broker.account()).account_number.startswith("PA")


@simulated
async def test_closing_the_day_expires_a_day_order_and_the_stream_says_so(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        await desk.broker.submit(an_order(limit="50"), guard=agree)
        closes_in = (moment("16:05") - desk.clock.now()).total_seconds()
        await desk.clock.sleep(closes_in)

        assert desk.updates[-1].event == "expired"
        assert desk.updates[-1].order.state is OrderState.EXPIRED
        assert desk.calls == ["ready"]


@simulated
async def test_an_order_on_the_open_works_through_the_night(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        evening = (moment("19:30") - desk.clock.now()).total_seconds()
        await desk.clock.sleep(evening)
        wanted = request(
            symbol=AAPL,
            order_type=OrderType.MARKET,
            limit_price=None,
            time_in_force=TimeInForce.OPG,
            session_date=DAY + dt.timedelta(days=1),
        )

        await desk.broker.submit(wanted, guard=agree)
        await desk.clock.sleep(15 * 3600)

        assert desk.updates[-1].order.state is OrderState.FILLED
        assert desk.calls == ["ready"]
