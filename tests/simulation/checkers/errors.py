"""Too much that fails on the way to the broker halts trading (I06)."""

from collections import deque
from collections.abc import Callable
from typing import Any

from risk.error_rate import ErrorLimit
from tests.simulation.checkers.evidence import Violations
from tests.simulation.processes import Process

# What is this near to the end of the window the daemon may count, or may not any more.
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
        end = at - limit.window_seconds
        while self._seen[0][0] <= end - _SPARE_SECONDS:
            self._seen.popleft()
        # Few errors of many operations, however the daemon counts: what was clear dilutes them.
        count = len(self._seen)
        errors = sum(failed for when, failed in self._seen if when > end + _SPARE_SECONDS)
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
