"""Signs of life: what the loop, the database, the stream and the watch last did.

Times are the clock's; ages are in real seconds, since a hung disk is not impressed by
how fast a replay runs.
"""

import datetime as dt
import time
from dataclasses import dataclass, field

WRITE_WITHIN_SECONDS = 30.0
LAG_WITHIN_SECONDS = 1.0
# Twice as long as a reconcile with all its readings may take, and more.
LOOK_WITHIN_SECONDS = 180.0


@dataclass(slots=True, kw_only=True)
class Vitals:
    """Written by the parts that live, read by whoever tells about them.

    ``looked`` is when the watch last finished a look at the broker, answered or not, and
    ``answered`` when one was answered; None while no session is watched.
    """

    started_at: dt.datetime | None = None
    is_ready: bool = False
    is_stopping: bool = False
    next_run: tuple[str, dt.datetime] | None = None
    is_watching: bool = False
    looked: float | None = None
    answered: float | None = None
    failed_looks: int = 0
    is_stream_connected: bool = False
    stream_event_at: dt.datetime | None = None
    loop_lag_seconds: float = 0.0
    beat: float = field(default_factory=time.perf_counter)
    wrote: float = field(default_factory=time.perf_counter)

    def look_began(self) -> None:
        """The watch over a session begins."""
        self.is_watching, self.looked = True, time.perf_counter()
        self.answered = self.looked

    def look_finished(self, *, is_answered: bool) -> None:
        """The watch finished one look; a broker that is away is no sign of death."""
        self.looked = time.perf_counter()
        if is_answered:
            self.answered = self.looked
        self.failed_looks += not is_answered

    def watch_ended(self) -> None:
        """Nothing to watch until the next session."""
        self.is_watching, self.looked, self.answered = False, None, None

    def beaten(self, lag_seconds: float) -> None:
        """The loop came round, so much too late."""
        self.loop_lag_seconds, self.beat = lag_seconds, time.perf_counter()

    def written(self) -> None:
        """The database took a write."""
        self.wrote = time.perf_counter()

    def is_compared(self, *, time_scale: float = 1.0) -> bool:
        """Tell whether the books were compared of late, where a session is watched."""
        age = 0.0 if self.answered is None else time.perf_counter() - self.answered
        return not self.is_watching or age <= _allowed(time_scale)

    def problems(self, *, time_scale: float = 1.0) -> tuple[str, ...]:
        """Tell what does not live; empty when all does.

        Args:
            time_scale: simulated seconds in a real one; a fast watch looks more often.
        """
        now = time.perf_counter()
        found: list[str] = []
        if not self.loop_lag_seconds <= LAG_WITHIN_SECONDS:
            found.append(f"the event loop is {self.loop_lag_seconds:.1f} s late")
        if not now - self.wrote <= WRITE_WITHIN_SECONDS:
            found.append(f"the last database write was {now - self.wrote:.0f} s ago")
        allowed = _allowed(time_scale)
        if self.is_watching and self.looked is not None and not now - self.looked <= allowed:
            found.append(f"the last look at the broker was {now - self.looked:.0f} s ago")
        return tuple(found)


def _allowed(time_scale: float) -> float:
    return max(LOOK_WITHIN_SECONDS / time_scale, WRITE_WITHIN_SECONDS)
