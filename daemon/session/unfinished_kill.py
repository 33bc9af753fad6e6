"""A kill that nobody has seen completed: the daemon tries, and again where that was too early."""

from collections.abc import Callable

import structlog

from domain.errors import OpenbellError
from execution.closing_notes import LOST_AFTER_SECONDS
from execution.desk import Desk
from execution.kill import complete_pending_kill
from state.latch_record import KillAction

# By then what was never answered has arrived, or is lost.
AGAIN_AFTER_SECONDS = LOST_AFTER_SECONDS + 30.0
_MOST_TRIES = 3


class UnfinishedKill:
    """What the latch still asks for, done beside the daemon's own work.

    ``note`` takes a kind and a text for the operator; ``wanted`` is done also where the latch
    could not note it, until a person has changed that: from then on the latch says what is left,
    which is nothing where they killed by another way, or resumed.
    """

    def __init__(
        self, desk: Desk, note: Callable[[str, str], None], *, wanted: KillAction | None = None
    ) -> None:
        self._desk = desk
        self._note = note
        self._wanted = wanted
        self._seen: int | None = None
        self._is_done = False
        self._told = ""
        self._log = structlog.get_logger("daemon")

    async def complete(self) -> None:
        """Try once, and tell the operator where it could not be verified.

        Raises:
            OpenbellError: the kill could not be run at all.
        """
        report = await complete_pending_kill(
            self._desk.stopping,
            self._desk.latch,
            clock=self._desk.clock,
            wanted=self._still_wanted(),
            tell=lambda line: self._log.warning("kill.stage", line=line),
        )
        self._is_done = report is None or report.verified
        if report is not None and not report.verified:
            self._tell(report.shortfall)

    def _still_wanted(self) -> KillAction | None:
        state = self._desk.latch.read()
        if self._seen is None:
            self._seen = state.sequence
        is_changed = state.sequence != self._seen and not (state.is_engaged and not state.asked)
        return None if is_changed else self._wanted

    async def attempt(self) -> None:
        """Try once, and tell the operator also what kept it from being run."""
        try:
            await self.complete()
        except Exception as exc:  # noqa: BLE001 - whatever ended one try, the next may succeed
            problem = str(exc) if isinstance(exc, OpenbellError) else repr(exc)
            self._tell(f"{problem}; run the same `openbell kill` again")

    async def keep_trying(self) -> None:
        """Try some more times, minutes apart, until it is done."""
        for _ in range(_MOST_TRIES):
            if self._is_done:
                return
            await self._desk.clock.sleep(AGAIN_AFTER_SECONDS)
            await self.attempt()

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._note("kill.unfinished", text)
            self._told = text
