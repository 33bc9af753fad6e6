"""Too many errors of the whole daemon: the look at itself, the restart, and its ration."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daemon.config import HealthConfig
from daemon.health.error_watch import ErrorWatch
from daemon.telemetry.hub import Notice
from daemon.telemetry.vitals import Vitals
from domain.errors import BrokerUnavailable, OrderRejected
from domain.orders import OrderState
from state.facts import Facts
from tests.support.fake_broker import refused
from tests.support.held_database import held_by_another_program
from tests.support.order_scene import Scene, request
from transport.replay_loop import ReplayLoop

CONFIG = HealthConfig(max_error_pct=10, min_errors=3, restarts_per_day=2)


def replayed(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the loop of a replay: hours pass at once, and threads are waited for."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=lambda: ReplayLoop(speed=0)) as runner:
            runner.run(test(*args, **kwargs))

    return wrapper


class Watched:
    """A scene whose broker is counted."""

    def __init__(self, directory: Path, config: HealthConfig = CONFIG) -> None:
        self.scene = Scene(directory)
        self.watch = ErrorWatch(config, clock=self.scene.clock)
        self.outcomes: list[str] = []
        self.watch.told = self.outcomes.append
        self.scene.desk.broker = self.watch.broker(self.scene.broker)
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1

    @contextlib.asynccontextmanager
    async def living(self, vitals: Vitals | None = None) -> AsyncIterator[None]:
        async with self.watch.restarting(self.scene.desk, vitals or Vitals(), stop=self.stop):
            yield
            # The look at ourselves waits for a thread, and the stop until people are told.
            await self.scene.clock.sleep(30)

    async def fail(self, times: int) -> None:
        self.scene.broker.read_faults["account"].extend([BrokerUnavailable("down")] * times)
        for _ in range(times):
            with contextlib.suppress(BrokerUnavailable):
                await self.scene.desk.broker.account()


@replayed
async def test_too_many_errors_stop_the_daemon_for_a_restart_and_say_why(tmp_path: Path) -> None:
    watched = Watched(tmp_path)

    async with watched.living():
        await watched.fail(3)

    assert watched.stops == 1
    assert watched.watch.is_restarting
    assert watched.outcomes == ["restarted"]
    [text] = [text for kind, text in watched.scene.alerts if kind == "daemon.restarting"]
    assert text.startswith("3 of 3 operations failed within 600 s")
    assert text.endswith("found nothing else")
    assert not watched.scene.latch.read().is_engaged


@replayed
async def test_errors_below_the_share_restart_nothing(tmp_path: Path) -> None:
    watched = Watched(tmp_path)

    async with watched.living():
        for _ in range(40):
            await watched.scene.desk.broker.clock()
        await watched.fail(4)

    assert watched.watch.error_ratio == pytest.approx(4 / 44)
    assert watched.stops == 0


@replayed
async def test_the_share_that_was_too_much_is_told_as_such_and_not_as_none(tmp_path: Path) -> None:
    watched = Watched(tmp_path)

    await watched.fail(3)

    assert watched.watch.error_ratio == 1


@replayed
async def test_refusals_are_answers(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.scene.broker.submit_faults.extend([refused(OrderRejected("no"))] * 5)

    async with watched.living():
        await watched.scene.send(*(request(symbol) for symbol in ("A", "B", "C", "D", "E")))

    assert watched.scene.state_of(request("A")) is OrderState.REJECTED
    assert watched.watch.error_ratio == 0
    assert watched.stops == 0


@replayed
async def test_failed_runs_and_events_that_cannot_be_read_count(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    now = watched.scene.clock.now()

    async with watched.living():
        for kind in ("run.failed", "stream.unreadable", "stream.dead_letter", "trading.paused"):
            watched.watch.hear(Notice(kind=kind, text="", symbol=None, at=now))

    assert watched.stops == 1


@replayed
async def test_a31_a_broker_that_stays_away_is_no_reason_to_restart(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.scene.broker.read_faults["positions"].append(BrokerUnavailable("maintenance"))

    async with watched.living():
        await watched.fail(3)

    assert watched.stops == 0
    assert watched.outcomes == ["waited"]
    assert "maintenance" in dict(watched.scene.alerts)["health.checked"]


@replayed
async def test_restarts_are_rationed_across_restarts(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    day = 86_400
    outcomes = []
    for pause in (0, 60, 60, day):
        await watched.scene.clock.sleep(pause)
        watched.watch.is_restarting = False
        async with watched.living():
            await watched.fail(3)
        outcomes.append(watched.outcomes[-1])

    assert outcomes == ["restarted", "restarted", "rationed", "restarted"]
    assert len((Facts(watched.scene.store).get("self_restarts") or "").split(",")) == 1


@replayed
async def test_e07_a_damaged_database_engages_the_latch_before_the_restart(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    with watched.scene.store.transaction() as connection:
        connection.execute("DROP TRIGGER events_never_change")
        connection.execute("UPDATE events SET payload = '{}' WHERE seq = 1")

    async with watched.living():
        await watched.fail(3)

    assert watched.scene.latch.read().reason.startswith("health: the event log is damaged")
    assert watched.stops == 1


@replayed
async def test_e04_a_database_that_refuses_one_look_is_told_and_the_watch_goes_on(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path)
    watched.scene.store.rows("PRAGMA busy_timeout = 0")

    async with watched.living():
        with held_by_another_program(tmp_path):
            await watched.fail(3)
            await watched.scene.clock.sleep(20)
        assert watched.outcomes == ["failed"]
        assert watched.stops == 0
        await watched.fail(3)

    assert "led to nothing" in dict(watched.scene.alerts)["health.checked"]
    assert watched.outcomes == ["failed", "restarted"]
    assert watched.stops == 1


@replayed
async def test_a_bug_in_one_look_is_told_and_the_daemon_ends_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path)

    async def break_down(*_words: object) -> None:
        raise KeyError("qty")

    monkeypatch.setattr("daemon.health.error_watch.look_at_ourselves", break_down)
    async with watched.living():
        await watched.fail(3)

    assert "KeyError('qty')" in dict(watched.scene.alerts)["health.checked"]
    assert watched.stops == 0


@replayed
async def test_a_late_loop_is_named(tmp_path: Path) -> None:
    watched = Watched(tmp_path)

    async with watched.living(Vitals(loop_lag_seconds=2.5)):
        await watched.fail(3)

    assert "loop: it is 2.5 s late" in dict(watched.scene.alerts)["daemon.restarting"]
