"""Alerts to people: what did not arrive is sent again, to whom it did not arrive, and once."""

import asyncio
import datetime as dt
import functools
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.config import load
from daemon.health.service import Notifier
from daemon.telemetry import alerts
from daemon.telemetry.alerts import AlertSender
from daemon.telemetry.hub import Hub
from daemon.telemetry.telling import Telling
from domain.clock import LoopClock
from domain.errors import ConfigError, StateError
from domain.ids import Symbol
from tests.support.order_scene import Scene as OrderScene
from tests.support.running import REPOSITORY
from tests.support.virtual_time import loop_clock
from transport.replay_loop import ReplayLoop

MINUTE = 60.0


def stepping(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop whose time stands still while a message is on its way."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=ReplayLoop) as runner:
            runner.run(test(*args, **kwargs))

    return wrapper


class Target:
    """Stands in for one target of Apprise: takes messages, or is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = 0
        self.taken: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def notify(self, *, title: str, body: str) -> bool:
        self.asked += 1
        self.meanwhile()
        if self.is_away:
            return False
        self.taken.append(f"{title}\n{body}")
        return True


class Scene:
    """A hub, a sender and its targets, on a clock that steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> None:
        self.targets = [Target() for _ in range(count)]
        monkeypatch.setattr(alerts, "open_targets", lambda _urls: self.targets)
        self.clock: LoopClock = loop_clock()
        self.hub = Hub(self.clock)
        self.sender = AlertSender([], hub=self.hub, clock=self.clock, time_scale=1, meters=None)
        self._running = asyncio.create_task(self.sender.run())

    @property
    def target(self) -> Target:
        return self.targets[0]

    async def passed(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def end(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.sender.farewell()


def told(target: Target, text: str) -> int:
    return sum(message.count(text) for message in target.taken)


@stepping
async def test_an_alert_that_found_nobody_is_told_when_the_target_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    scene.target.is_away = True
    scene.hub.alert("reconcile.failed", "the broker cannot be reached")
    await scene.passed(40 * MINUTE)
    assert 5 < scene.target.asked < 15

    scene.target.is_away = False
    await scene.passed(11 * MINUTE)

    assert told(scene.target, "the broker cannot be reached") == 1
    assert len(scene.target.taken) == 1
    await scene.end()


@stepping
async def test_a_new_alert_does_not_wait_for_the_pause_after_an_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    scene.target.is_away = True
    scene.hub.alert("reconcile.failed", "the broker cannot be reached")
    await scene.passed(60 * MINUTE)

    scene.target.is_away = False
    scene.hub.alert("kill.engaged", "drawdown")
    await scene.passed(6)

    assert told(scene.target, "drawdown") == told(scene.target, "the broker") == 1
    await scene.end()


@stepping
async def test_a_target_that_is_away_neither_holds_up_another_nor_doubles_what_it_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, count=2)
    away, well = scene.targets
    away.is_away = True
    scene.hub.alert("run.failed", "submit: no equity")
    await scene.passed(1)
    assert told(well, "no equity") == 1

    await scene.passed(60 * MINUTE)
    away.is_away = False
    await scene.passed(11 * MINUTE)

    assert told(well, "no equity") == told(away, "no equity") == 1
    await scene.end()


@stepping
async def test_a_target_that_breaks_is_one_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, count=2)
    faults = iter([RuntimeError("a bug of the target's library")])

    def break_once() -> None:
        for fault in faults:
            raise fault

    scene.target.meanwhile = break_once
    scene.hub.alert("run.failed", "submit: no equity")
    await scene.passed(6)

    assert [told(one, "no equity") for one in scene.targets] == [1, 1]
    await scene.end()


async def test_a_request_that_hangs_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.telemetry import alert_target

    monkeypatch.setattr(alert_target, "_SEND_SECONDS", 0.02)
    monkeypatch.setattr(alert_target, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(alert_target, "_LONGEST_PAUSE_SECONDS", 0.02)
    scene = Scene(monkeypatch)
    free = threading.Event()
    scene.target.meanwhile = lambda: free.wait(20)
    scene.hub.alert("kill.engaged", "drawdown")
    await scene.passed(0.3)

    free.set()
    await scene.passed(0.2)

    assert (scene.target.asked, told(scene.target, "drawdown")) == (1, 1)
    await scene.end()


@stepping
async def test_what_waits_when_the_daemon_ends_is_still_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    await scene.passed(1)
    scene.hub.alert("kill.engaged", "storage: no space left")

    await scene.end()

    assert told(scene.target, "no space left") == 1


@stepping
async def test_a_target_that_is_away_does_not_keep_the_daemon_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    scene.target.is_away = True
    scene.hub.alert("kill.engaged", "drawdown")
    await scene.passed(MINUTE)
    began = scene.clock.now()

    await scene.end()

    assert scene.clock.now() - began <= dt.timedelta(seconds=6)


@stepping
async def test_a_daemon_that_ends_by_a_fault_says_so_before_it_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target, scene = Target(), OrderScene(tmp_path)
    monkeypatch.setattr(alerts, "open_targets", lambda _urls: [target])
    config = load(REPOSITORY / "config.toml", {"OPENBELL__ALERTS__URLS": '["json://127.0.0.1"]'})
    telling = Telling(config, clock=scene.clock, time_scale=1, notifier=Notifier({}))
    telling.vitals.is_ready = True

    async def live() -> None:
        async with telling.open(scene.desk, scene.reconciler):
            await scene.clock.sleep(60)
            raise ExceptionGroup("tasks", [StateError("the keys are for another account")])

    with pytest.raises(ExceptionGroup):
        await live()

    assert told(target, "daemon.failed: the daemon ends: the keys are for another account") == 1


async def heard(monkeypatch: pytest.MonkeyPatch, notices: Sequence[tuple[str, str, Any]]) -> Target:
    scene = Scene(monkeypatch)
    for kind, text, symbol in notices:
        scene.hub.alert(kind, text, symbol)
        await scene.passed(MINUTE)
    await scene.end()
    return scene.target


@stepping
async def test_a_second_run_that_fails_within_the_quarter_of_an_hour_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = [("run.failed", f"{run}: no bars", None) for run in ("pre_market", "submit")]

    target = await heard(monkeypatch, failed)

    assert told(target, "pre_market: no bars") == told(target, "submit: no bars") == 1


@stepping
async def test_the_same_with_other_figures_is_a_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the last database write was {n} s ago" for n in (31, 95, 1004)]

    target = await heard(monkeypatch, [("watchdog.stalled", text, None) for text in texts])

    assert told(target, "watchdog.stalled:") == 1


@stepping
async def test_a_kind_in_ever_other_words_is_held_back_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"orders of {'x' * n} are gone" for n in range(1, 13)]

    target = await heard(monkeypatch, [("order.unknown", text, Symbol("AAPL")) for text in texts])

    assert told(target, "order.unknown:") == 5


@stepping
async def test_of_too_many_the_newest_are_told_and_how_many_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    scene.target.is_away = True
    for number in range(60):
        scene.hub.alert("kill.engaged", f"kill number {number}.")
    scene.target.is_away = False
    await scene.passed(20 * MINUTE)

    assert told(scene.target, "kill number 59.") == 1
    assert told(scene.target, "kill number 9.") == 0
    assert told(scene.target, "(10 older alerts are lost") == 1
    await scene.end()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_target_that_cannot_be_used_is_told_by_its_place_and_its_address_by_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match="target 2 is not in a form") as caught:
        alerts.open_targets(["json://127.0.0.1:9", "tgram:/123456:made-up"])

    # Of an address that lacks a slash Apprise logs all, with the token.
    assert "made-up" not in str(caught.value) + caplog.text
