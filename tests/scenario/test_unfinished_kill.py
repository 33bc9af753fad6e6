"""A kill that was cut off or met a dead broker, completed by the daemon."""

import asyncio
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokers.base import Broker
from daemon.session import unfinished_kill
from daemon.session.unfinished_kill import AGAIN_AFTER_SECONDS
from daemon.telemetry.controls import Controls
from daemon.telemetry.hub import Hub
from domain.errors import StorageError
from domain.ids import Symbol
from execution.closing_notes import LOST_AFTER_SECONDS
from execution.kill import KillReport, complete_pending_kill
from state.latch import Latch
from state.latch_record import KillAction
from tests.support.fake_broker import delivered_late, lost_before
from tests.support.order_scene import Scene, live_order
from tests.support.schedule_scene import Days, at
from tests.support.virtual_time import virtual

AAPL = Symbol("AAPL")
STARTED = at("2022-12-14T10:30:00")


def cut_off_kill(tmp_path: Path, quantity: int) -> Days:
    """Open a machine on which a kill with flatten was engaged, and no more."""
    days = Days(tmp_path, start=STARTED)
    days.exchange.fills_at_once = True
    days.exchange.ids_unique_for_ever = False
    days.exchange.quantities[AAPL] = Decimal(quantity)
    days.scene.latch.engage("a person said so", STARTED, pending=KillAction.FLATTEN)
    return days


async def lived(days: Days, minutes: float) -> None:
    await days.live(until=STARTED + dt.timedelta(minutes=minutes))


@virtual
async def test_k08_start_completes_the_kill_and_has_nothing_to_say(tmp_path: Path) -> None:
    days = cut_off_kill(tmp_path, 7)

    await lived(days, 15)

    assert days.exchange.quantities[AAPL] == 0
    assert days.scene.latch.read().pending is None
    assert "kill.unfinished" not in days.incidents()


@virtual
async def test_a10_purchase_that_was_lost_is_made_good_by_the_daemon_minutes_later(
    tmp_path: Path,
) -> None:
    days = cut_off_kill(tmp_path, -7)
    days.exchange.submit_faults.append(lost_before())

    await lived(days, 15)

    (told,) = [text for kind, text in days.scene.alerts if kind == "kill.unfinished"]
    assert "run `openbell kill --flatten` again" in told
    (_, first), (_, second) = days.exchange.posts
    assert (second - first).total_seconds() >= LOST_AFTER_SECONDS
    assert days.exchange.quantities[AAPL] == 0
    assert days.scene.latch.read().pending is None


@virtual
async def test_a05_purchase_that_was_only_late_is_not_made_twice_by_the_daemon(
    tmp_path: Path,
) -> None:
    days = cut_off_kill(tmp_path, -7)
    days.exchange.offers_suspend = False
    days.exchange.submit_faults.append(delivered_late(100))

    await lived(days, 15)

    assert days.exchange.quantities[AAPL] == 0
    assert len(days.exchange.posts) == 1
    assert days.scene.latch.read().pending is None


@virtual
async def test_k08_disk_that_refuses_a_later_try_is_told_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = cut_off_kill(tmp_path, -7)
    days.exchange.submit_faults.append(lost_before())
    tries: list[str] = []

    async def complete(broker: Broker, latch: Latch, **words: Any) -> KillReport | None:
        tries.append("one")
        if len(tries) == 2:
            raise StorageError("no space")
        return await complete_pending_kill(broker, latch, **words)

    monkeypatch.setattr(unfinished_kill, "complete_pending_kill", complete)

    await lived(days, 15)

    assert len(tries) == 3
    told = [text for kind, text in days.scene.alerts if kind == "kill.unfinished"]
    assert "no space" in told[1]
    assert days.scene.latch.read().pending is None


@virtual
async def test_k02_kill_from_afar_that_met_a_dead_broker_is_tried_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    hub = Hub(scene.clock)
    told: list[str] = []
    hub.listen(lambda notice: told.append(notice.kind))
    controls = Controls(scene.desk, hub)
    await live_order(scene)
    scene.broker.is_down = True

    controls.kill("from afar")
    await asyncio.sleep(120)
    scene.broker.is_down = False
    await asyncio.sleep(AGAIN_AFTER_SECONDS)

    assert told == ["kill.engaged", "kill.unfinished"]
    assert not scene.broker.working()
    assert scene.latch.read().pending is None


@virtual
async def test_k02_daemon_that_stops_does_not_wait_to_try_a_kill_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    controls = Controls(scene.desk, Hub(scene.clock))
    scene.broker.is_down = True
    controls.kill("from afar")
    began = scene.clock.monotonic()

    await controls.settled()
    scene.broker.is_down = False
    await asyncio.sleep(2 * AGAIN_AFTER_SECONDS)

    assert scene.clock.monotonic() - began < 3 * AGAIN_AFTER_SECONDS
    assert scene.latch.read().pending is KillAction.CANCEL
