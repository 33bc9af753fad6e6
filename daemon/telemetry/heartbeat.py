"""Prove, over and over, that the daemon lives; and notice when trading is stopped from outside."""

import asyncio
from typing import TYPE_CHECKING

from daemon.health.service import Notifier
from daemon.telemetry.hub import Hub, without_figures
from daemon.telemetry.vitals import Vitals
from domain.errors import StateError
from domain.trading_state import TradingState
from execution.desk import Desk
from state.facts import Facts
from state.risk_state import RiskState
from transport.replay_loop import is_stepping

if TYPE_CHECKING:
    from daemon.telemetry.metrics import Meters

_BEAT_SECONDS = 1.0
# A loop that steps would take each beat for a step of the day.
_STEPPING_BEAT_SECONDS = 30.0
_WRITE_EVERY_BEATS = 10


class Heartbeat:
    """Beats once a second: loop lag, a database write, the trading state, the watchdog."""

    def __init__(
        self,
        desk: Desk,
        *,
        hub: Hub,
        vitals: Vitals,
        meters: "Meters | None",
        notifier: Notifier,
        time_scale: float,
    ) -> None:
        self._desk = desk
        self._facts = Facts(desk.store)
        self._risk_state = RiskState(desk.store)
        self._hub = hub
        self._vitals = vitals
        self._meters = meters
        self._notifier = notifier
        self._scale = time_scale
        self._state = TradingState.ACTIVE
        self._told: tuple[str, ...] = ()

    async def run(self) -> None:
        """Beat until cancelled."""
        beats = 0
        while True:
            if beats % _WRITE_EVERY_BEATS == 0:
                self._write()
            self._look_at_state()
            self._tell()
            await self._pause()
            beats += 1

    async def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        span = _STEPPING_BEAT_SECONDS if is_stepping() else _BEAT_SECONDS * self._scale
        due = loop.time() + span
        await self._desk.clock.sleep(span)
        lag = max(0.0, loop.time() - due) / self._scale
        self._vitals.beaten(lag)
        if self._meters is not None:
            self._meters.loop_lag.observe(lag)

    def _write(self) -> None:
        try:
            self._facts.put(heartbeat_at=self._desk.clock.now().isoformat())
        except StateError as exc:
            # The order path halts by itself; the watchdog will see that nothing was written.
            self._hub.alert("heartbeat.unwritten", str(exc))

    def _look_at_state(self) -> None:
        """See what a person at the command line did: their kill passes no code of ours."""
        state = self._desk.effective_state()
        if state is not self._state:
            why = self._why(state)
            told = f"{self._state} to {state}" + (f": {why}" if why else "")
            self._hub.alert("trading_state.changed", told)
            self._state = state

    def _why(self, state: TradingState) -> str:
        latch = self._desk.latch.read()
        if latch.is_engaged or state is TradingState.ACTIVE:
            return latch.reason if latch.is_engaged else ""
        judged, doubts = self._risk_state.trading_state_reason(), self._desk.only_exits()
        # What was judged of the account may have taken the doubts up.
        return judged if doubts in judged else "; ".join(filter(None, (judged, doubts)))

    def _tell(self) -> None:
        problems = self._vitals.problems(time_scale=self._scale)
        # Once: a second later it is the same fault, a second older.
        told = tuple(without_figures(problem) for problem in problems)
        if problems and told != self._told:
            self._hub.alert("watchdog.stalled", "; ".join(problems))
        self._told = told
        is_ready = self._vitals.is_ready and not self._vitals.is_stopping
        self._notifier.beat(is_alive=not problems, is_ready=is_ready, status=self._status())
        if self._meters is not None:
            self._meters.beat_at.set(self._desk.clock.now().timestamp())
            self._meters.healthy.set(not problems)
            is_trading = is_ready and self._state is not TradingState.HALTED
            is_compared = self._vitals.is_compared(time_scale=self._scale)
            self._meters.ready.set(is_trading and is_compared and not problems)

    def _status(self) -> str:
        upcoming = self._vitals.next_run
        then = f"next: {upcoming[0]} at {upcoming[1]:%Y-%m-%d %H:%M} UTC" if upcoming else "idle"
        return f"{self._state.value}; {then}"
