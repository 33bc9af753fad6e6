"""The heartbeat: what it tells once, and what it calls ready."""

import asyncio
import time
from pathlib import Path

from daemon.health.service import Notifier
from daemon.telemetry.heartbeat import Heartbeat
from daemon.telemetry.hub import Hub, Notice
from daemon.telemetry.metrics import Meters
from daemon.telemetry.vitals import Vitals
from domain.trading_state import TradingState
from state.pause import Pause
from state.risk_state import RiskState
from tests.support.order_scene import Scene
from tests.support.virtual_time import virtual


class Beating:
    """A heart that beats in virtual time."""

    def __init__(self, directory: Path) -> None:
        scene = Scene(directory)
        self.risk = RiskState(scene.store)
        scene.desk.trading_state = self.risk.trading_state
        self.told: list[Notice] = []
        self.meters = Meters(mode="paper")
        self.vitals = Vitals(is_ready=True)
        hub = Hub(scene.clock)
        hub.listen(self.told.append)
        self._clock = scene.clock
        self._heart = Heartbeat(
            scene.desk,
            hub=hub,
            vitals=self.vitals,
            meters=self.meters,
            notifier=Notifier({}),
            time_scale=1,
        )

    async def beat(self, seconds: float) -> None:
        task = asyncio.create_task(self._heart.run())
        await self._clock.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def ready(self) -> float | None:
        return self.meters.registry.get_sample_value("openbell_ready")


@virtual
async def test_what_stands_still_is_told_once_and_not_each_second_anew(tmp_path: Path) -> None:
    one = Beating(tmp_path)
    one.vitals.look_began()
    for age in range(200, 230):
        one.vitals.looked = time.perf_counter() - age
        await one.beat(1)

    assert [notice.kind for notice in one.told] == ["watchdog.stalled"]

    one.vitals.look_finished(is_answered=True)
    await one.beat(1)
    one.vitals.looked = time.perf_counter() - 300
    await one.beat(1)

    assert len(one.told) == 2


@virtual
async def test_a_daemon_whose_broker_does_not_answer_is_not_ready(tmp_path: Path) -> None:
    one = Beating(tmp_path)
    await one.beat(2)
    assert one.ready == 1

    one.vitals.look_began()
    await one.beat(2)
    assert one.ready == 1

    one.vitals.answered = time.perf_counter() - 181
    one.vitals.look_finished(is_answered=False)
    await one.beat(2)
    assert (one.ready, one.told) == (0, [])

    one.vitals.look_finished(is_answered=True)
    await one.beat(2)
    assert one.ready == 1


@virtual
async def test_whoever_is_told_that_entries_are_blocked_is_told_why(tmp_path: Path) -> None:
    one = Beating(tmp_path)
    await one.beat(2)
    one.risk.set_trading_state(TradingState.REDUCING, "daily loss of 1.62 % reached 1.5 %")
    await one.beat(2)
    one.risk.set_trading_state(TradingState.ACTIVE, "")
    await one.beat(2)

    assert [notice.text for notice in one.told] == [
        "ACTIVE to REDUCING: daily loss of 1.62 % reached 1.5 %",
        "REDUCING to ACTIVE",
    ]


@virtual
async def test_a_pause_is_named_once_in_what_is_told(tmp_path: Path) -> None:
    one = Beating(tmp_path)
    Pause(tmp_path).set("lunch")
    one.risk.set_trading_state(TradingState.REDUCING, "paused: lunch")
    await one.beat(2)
    Pause(tmp_path).set("supper")
    one.risk.set_trading_state(TradingState.HALTED, "the keys are refused")
    await one.beat(2)

    assert [notice.text for notice in one.told] == [
        "ACTIVE to REDUCING: paused: lunch",
        "REDUCING to HALTED: the keys are refused; paused: supper",
    ]
