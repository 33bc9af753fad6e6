"""What may be asked of a running daemon from outside: to stop, or to take no new risk.

Nothing here, and so nothing over HTTP or MQTT, can raise risk.
"""

import asyncio
import datetime as dt

from daemon.session.unfinished_kill import UnfinishedKill
from daemon.telemetry.hub import Hub
from domain.errors import StateError
from domain.reasons import NO_REASON, tidy
from domain.trading_state import TradingState
from execution.desk import Desk
from state.latch_record import KillAction
from state.pause import Pause
from state.risk_state import RiskState


class Controls:
    """The risk-lowering verbs; each takes effect before it returns."""

    def __init__(self, desk: Desk, hub: Hub) -> None:
        self._desk = desk
        self._hub = hub
        self._pause = Pause(desk.store.directory)
        self._risk_state = RiskState(desk.store)
        self._asked: list[tuple[dt.datetime, str]] = []
        self._canceling: asyncio.Task[None] | None = None
        self._trying_again: asyncio.Task[None] | None = None

    def kill(self, reason: str) -> None:
        """Engage the latch now; open orders are canceled in the background, whatever refuses.

        Raises:
            StateError: the latch could not be written; this process sends nothing all the same.
        """
        reason, now = tidy(reason) or NO_REASON, self._desk.clock.now()
        # Also where the file cannot be written: this process is stopped by its own flag.
        self._desk.is_halted = True
        self._cancel_soon(now, reason)
        try:
            self._desk.latch.engage(reason, now, pending=KillAction.CANCEL)
        except StateError as exc:
            self._hub.alert("kill.engaged", f"{reason}; only until this process ends: {exc}")
            raise
        # From here on the file says it, and a person can release it again.
        self._desk.is_halted = False
        self._hub.alert("kill.engaged", reason)

    def pause(self, reason: str) -> None:
        """Stop new entries now; exits still work.

        Raises:
            StateError: the marker could not be written.
        """
        reason = tidy(reason) or NO_REASON
        self._pause.set(reason)
        if self._risk_state.trading_state() is TradingState.ACTIVE:
            self._risk_state.set_trading_state(TradingState.REDUCING, f"paused: {reason}")
        self._hub.alert("trading.paused", reason)

    async def settled(self) -> None:
        """Wait until kills under way are done; what is still to be done is the next start's."""
        if self._canceling is not None:
            await asyncio.wait({self._canceling})
        self._leave_off()

    def _cancel_soon(self, at: dt.datetime, reason: str) -> None:
        self._asked.append((at, reason))
        if self._canceling is None or self._canceling.done():
            self._canceling = asyncio.create_task(self._cancel_everything(), name="kill")

    async def _cancel_everything(self) -> None:
        self._leave_off()
        kill = await self._attempt()
        # What is asked meanwhile may have come after the last look: it gets one of its own.
        while self._asked:
            kill = await self._attempt()
        # Who asked from afar has no keyboard to run it again on.
        self._trying_again = asyncio.create_task(kill.keep_trying(), name="kill again")

    async def _attempt(self) -> UnfinishedKill:
        asked, self._asked = self._asked, []
        # The latch may not have taken the wish down; it holds all the same.
        kill = UnfinishedKill(self._desk, self._hub.alert, wanted=KillAction.CANCEL)
        await kill.attempt()
        self._write_down(asked)
        return kill

    def _write_down(self, asked: list[tuple[dt.datetime, str]]) -> None:
        # Last: a database that another program holds makes each write wait for seconds.
        try:
            self._desk.store.sync_latch(self._desk.latch)
            for at, reason in asked:
                self._desk.incidents.record("kill.engaged", reason, at)
        except StateError as exc:
            self._hub.alert("kill.unrecorded", f"the latch file holds, the database: {exc}")

    def _leave_off(self) -> None:
        if self._trying_again is not None:
            self._trying_again.cancel()
