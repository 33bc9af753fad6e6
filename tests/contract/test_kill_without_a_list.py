"""A kill over sockets whose list of open orders cannot be read: they are canceled all the same.

The orders are placed, and looked at afterwards, by the unmodified alpaca-py.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.paper_server import parse_fault, wire
from domain.clock import LoopClock
from domain.secrets import Secret
from execution.kill import KillReport, Proof, kill
from state.latch import Latch
from state.latch_record import KillAction
from tests.support.alpaca_words import simulated
from tests.support.broker_doors import Venue, open_venue
from tests.support.exchange_world import MSFT

NO_LIST = "refuse_before_accept:method=GET,path=/v2/orders,mode=500,count=0"
SILENT_LIST = "refuse_before_accept:method=GET,path=/v2/orders,mode=hang,count=0"
CUT_LIST = "truncated_json:method=GET,path=/v2/orders,count=0"
ASKED = "the list of open orders cannot be read: asked the broker to cancel everything"


@dataclass
class Desk:
    """An account with three working orders, and a kill switch on it."""

    venue: Venue
    broker: AlpacaBroker
    latch: Latch
    lines: list[str] = field(default_factory=list)

    async def kill(self) -> KillReport:
        assert isinstance(self.venue.clock, LoopClock)
        return await kill(
            self.broker,
            self.latch,
            flatten=False,
            reason="test",
            clock=self.venue.clock,
            tell=self.lines.append,
        )

    def arm(self, *faults: str) -> None:
        assert self.venue.server is not None
        for text in faults:
            self.venue.server.faults.arm(parse_fault(text))

    def requests(self, method: str) -> list[str]:
        assert self.venue.server is not None
        return [entry["path"] for entry in self.venue.server.log if entry["method"] == method]

    def statuses(self) -> list[str]:
        orders = self.venue.exchange.book.orders.values()
        return sorted(order.status.value for order in orders)


@contextlib.asynccontextmanager
async def a_desk(directory: Path) -> AsyncIterator[Desk]:
    async with open_venue("alpaca_py", directory / "server", start="10:00", partial=0.0) as venue:
        assert venue.server is not None
        await venue.door.submit("buy", "1", limit="50.00", coid="o0")
        await venue.door.submit("buy", "1", symbol=MSFT, limit="50.00", coid="o1")
        await venue.door.submit("buy", "1", limit="51.00", coid="by-hand")
        await venue.wait(1)
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=venue.server.base_url, is_urgent=True),
            key_id=Secret(venue.server.keys.key_id),
            secret_key=Secret(venue.server.keys.secret_key),
            clock=venue.clock,
        )
        latch = Latch(directory)
        latch.arm_new(venue.clock.now())
        try:
            yield Desk(venue, broker, latch)
        finally:
            await broker.aclose()


@pytest.mark.parametrize(
    "fault", [NO_LIST, SILENT_LIST, CUT_LIST], ids=["500", "silence", "half a list"]
)
@simulated
async def test_list_that_stays_away_cancels_everything_and_the_kill_stays_not_verified(
    tmp_path: Path, fault: str
) -> None:
    async with a_desk(tmp_path) as desk:
        desk.arm(fault)

        report = await desk.kill()

        assert desk.statuses() == ["canceled"] * 3
        assert set(desk.requests("DELETE")) == {"/v2/orders"}
        assert desk.lines.count(ASKED) == 1
        assert (report.proof, report.verified) == (Proof.NOT_CANCELED, False)
        assert (report.open_orders, report.suspended) == (None, True)
        assert "was asked to cancel everything" in report.shortfall
        assert desk.latch.read().pending is KillAction.CANCEL

        assert desk.venue.server is not None
        desk.venue.server.faults.clear()
        assert await desk.venue.door.open_orders() == []
        assert (await desk.kill()).verified


@simulated
async def test_one_row_that_cannot_be_read_is_canceled_with_the_others_and_then_it_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_desk(tmp_path) as desk:
        written = wire.order_json

        def odd(order: Any, *args: Any, **fields: Any) -> dict[str, Any]:
            row = written(order, *args, **fields)
            return {**row, "side": "sideways"} if order.client_order_id == "by-hand" else row

        monkeypatch.setattr(wire, "order_json", odd)

        report = await desk.kill()

        assert desk.statuses() == ["canceled"] * 3
        assert desk.lines.count(ASKED) == 1
        # What cannot be read has ended with the rest, and the list without it comes back empty.
        assert (report.proof, report.verified) == (Proof.CANCELED, True)
        assert report.elapsed_seconds < 10


@simulated
async def test_single_orders_that_fail_in_the_answer_are_asked_for_again(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        desk.arm(NO_LIST, "mixed_207:match=by-hand,count=3")

        report = await desk.kill()

        assert desk.statuses() == ["canceled"] * 3
        assert not report.verified


@simulated
async def test_answers_that_never_come_are_told_and_asked_for_again(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        desk.arm(NO_LIST, "refuse_before_accept:method=DELETE,count=2,mode=503")

        report = await desk.kill()

        assert desk.statuses() == ["canceled"] * 3
        assert any("got no clear answer" in line for line in desk.lines)
        assert not report.verified


@simulated
async def test_refused_keys_ask_for_nothing(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        desk.arm("auth_401:method=GET,path=/v2/orders,count=0")

        report = await desk.kill()

        assert desk.requests("DELETE") == []
        assert desk.statuses() == ["new"] * 3
        assert "keys" in report.problems[-1]
