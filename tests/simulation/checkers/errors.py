"""Too much that fails on the way to the broker halts trading (I06)."""

from collections import deque
from collections.abc import Callable
from typing import Any

from risk.error_rate import ErrorLimit
from tests.simulation.checkers.evidence import Violations
from tests.simulation.processes import Process

# Inside the daemon's own window and share, so that both count alike.
_SPARE_SECONDS = 10.0
_SPARE_PCT = 1
# Seconds within which a halt is on disk.
_SOON = 1.0


class ErrorCount:
    """Counts what surely failed against everything that may have been clear."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._seen: deque[tuple[float, bool]] = deque()

    def add(self, process: Process, at: float, limit: ErrorLimit, *, is_error: bool) -> str:
        """Count one operation of a process; return why it is too much, or nothing."""
        if process is not self._process:
            # What a process counted dies with it.
            self._process = process
            self._seen.clear()
        self._seen.append((at, is_error))
        while self._seen[0][0] <= at - limit.window_seconds + _SPARE_SECONDS:
            self._seen.popleft()
        errors, count = sum(failed for _, failed in self._seen), len(self._seen)
        is_much = errors * 100 >= (limit.max_pct + _SPARE_PCT) * count
        if not (is_error and is_much and errors >= limit.least_errors):
            return ""
        self._seen.clear()
        return f"{errors} of {count} operations failed and nothing halted"


def judged_soon(
    later: Callable[..., Any],
    why: str,
    *,
    is_excused: Callable[[], bool],
    blame: Callable[[Violations], None],
) -> None:
    """Blame in a moment, unless the latch is engaged by then or the process is gone."""

    def judge() -> None:
        if not is_excused():
            blame([("I06", why)])

    later(_SOON, judge)
