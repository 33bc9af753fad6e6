"""What may be asked of a running daemon from outside: to stop, or to take no new risk.

Nothing here, and so nothing over HTTP or MQTT, can raise risk.
"""

import asyncio

from daemon.session.unfinished_kill import UnfinishedKill
from daemon.telemetry.hub import Hub
from domain.errors import OpenbellError
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
        self._stopping: set[asyncio.Task[None]] = set()
        self._trying_again: asyncio.Task[None] | None = None

    def kill(self, reason: str) -> None:
        """Engage the latch now; open orders are canceled in the background.

        Raises:
            StateError: the latch could not be written; this process sends nothing all the same.
        """
        reason = tidy(reason) or NO_REASON
        # Also where the file cannot be written: this process is stopped by its own flag.
        self._desk.is_halted = True
        self._desk.latch.engage(reason, self._desk.clock.now(), pending=KillAction.CANCEL)
        # From here on the file says it, and a person can release it again.
        self._desk.is_halted = False
        self._desk.store.sync_latch(self._desk.latch)
        self._desk.incidents.record("kill.engaged", reason, self._desk.clock.now())
        self._hub.alert("kill.engaged", reason)
        if not self._stopping:
            task = asyncio.create_task(self._cancel_everything(), name="kill")
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

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
        await asyncio.gather(*self._stopping)
        self._leave_off()

    async def _cancel_everything(self) -> None:
        self._leave_off()
        kill = UnfinishedKill(self._desk, self._hub.alert)
        try:
            await kill.complete()
        except OpenbellError as exc:
            # Still pending in the latch: the next start, or `openbell kill`, completes it.
            self._hub.alert("kill.unfinished", str(exc))
        # Who asked from afar has no keyboard to run it again on.
        self._trying_again = asyncio.create_task(kill.keep_trying(), name="kill again")

    def _leave_off(self) -> None:
        if self._trying_again is not None:
            self._trying_again.cancel()
