"""One target of the alerts: what waits for it, until it took it.

What an alert tells of often takes its way out as well (a network that is down), so a
message that did not arrive is sent again, ever more slowly, for as long as the daemon lives.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from daemon.telemetry.hub import Notice
from domain.clock import Clock

_MOST_WAITING = 50
# A message that is too long for a target would never leave, however often it is tried.
_MOST_IN_ONE = 10
_LONGEST_TEXT = 500
_SEND_SECONDS = 30.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 600.0
_FAREWELL_SECONDS = 5.0


class AlertTarget:
    """Sends what it is handed, in order; another target that is away holds nothing up here."""

    def __init__(
        self, apprise: Any, *, clock: Clock, time_scale: float, count: Callable[[str], None]
    ) -> None:
        self._apprise = apprise
        self._clock = clock
        self._scale = time_scale
        self._count = count
        self._waiting: deque[Notice] = deque()
        self._some = asyncio.Event()
        self._sending: _Sending | None = None
        self._held_back = 0
        self._lost = 0
        self._log = structlog.get_logger("alerts")

    def put(self, notice: Notice) -> None:
        """Queue a notice; never waits.  Of too many the oldest goes, and its loss is told."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
            self._count("dropped")
        self._waiting.append(notice)
        self._some.set()

    def hold_back(self) -> None:
        """Count a repeat that is not sent."""
        self._held_back += 1

    async def run(self) -> None:
        """Send what is queued until cancelled; what waits together goes as one message."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            while not self._waiting:
                self._some.clear()
                await self._some.wait()
            if await self._attempt():
                pause = _FIRST_PAUSE_SECONDS
                continue
            await self._rest(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def farewell(self) -> None:
        """Send what still waits, for the end, after ``run``; a few seconds and no longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS * self._scale):
                while self._waiting and await self._attempt():
                    continue

    async def _rest(self, seconds: float) -> None:
        # Something new is a reason to try sooner, though not at once.
        self._some.clear()
        await self._clock.sleep(_FIRST_PAUSE_SECONDS * self._scale)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout((seconds - _FIRST_PAUSE_SECONDS) * self._scale):
                await self._some.wait()

    async def _attempt(self) -> bool:
        # A request that hangs is waited for: begun a second time it could arrive twice.
        sending = self._sending = self._sending or self._begin()
        done, _ = await asyncio.wait({sending.task}, timeout=_SEND_SECONDS * self._scale)
        if done:
            self._sending = None
        # What a library of the target's raises is one more way not to arrive.
        fault = sending.task.exception() if done else None
        is_sent = bool(done) and fault is None and bool(sending.task.result())
        if is_sent:
            self._sent(sending)
        else:
            reason = repr(fault) if fault else "not taken" if done else "no answer yet"
            self._log.error("alert.unsent", reason=reason, waiting=len(self._waiting))
        self._count("sent" if is_sent else "failed")
        return is_sent

    def _begin(self) -> "_Sending":
        notices = tuple(itertools.islice(self._waiting, _MOST_IN_ONE))
        title, body = compose(notices, held_back=self._held_back, lost=self._lost)
        sent = asyncio.to_thread(self._apprise.notify, title=title, body=body)
        return _Sending(
            notices=notices,
            held_back=self._held_back,
            lost=self._lost,
            task=asyncio.create_task(sent, name="alert"),
        )

    def _sent(self, sending: "_Sending") -> None:
        self._waiting = deque(one for one in self._waiting if one not in sending.notices)
        self._held_back -= sending.held_back
        self._lost -= sending.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """One message on its way, and what it tells."""

    notices: Sequence[Notice]
    held_back: int
    lost: int
    task: asyncio.Task[Any]


def compose(notices: Sequence[Notice], *, held_back: int, lost: int) -> tuple[str, str]:
    """Return title and body of one message."""
    first = notices[0]
    more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
    lines = [
        f"{one.at:%Y-%m-%d %H:%M:%S} UTC  {one.kind}: {one.text[:_LONGEST_TEXT]}" for one in notices
    ]
    if held_back:
        lines.append(f"({held_back} repeats were held back)")
    if lost:
        lines.append(f"({lost} older alerts are lost: too many waited)")
    return f"openbell: {first.kind}{more}", "\n".join(lines)
