"""How much goes wrong: operations and errors of the last minutes against a bound.  Pure.

A share alone would judge one failure of one call; a number alone would judge a busy day.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from domain.money import text


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLimit:
    """Too much is both: at least so many errors, and that share of all operations."""

    max_pct: Decimal
    least_errors: int
    window_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a window holds."""

    operations: int
    errors: int

    @property
    def error_pct(self) -> float:
        """Errors in percent of all operations; 0 without any."""
        return 100 * self.errors / self.operations if self.operations else 0.0


def judged(tally: Tally, limit: ErrorLimit) -> str:
    """Return why it is too much, in words; empty when it is not."""
    if tally.errors < limit.least_errors or tally.error_pct < limit.max_pct:
        return ""
    return (
        f"{tally.errors} of {tally.operations} operations failed within"
        f" {limit.window_seconds:.0f} s, the limit is {text(limit.max_pct)} %"
    )


class ErrorWindow:
    """Operations of the last ``window_seconds``, by a clock that never goes back."""

    def __init__(self, limit: ErrorLimit) -> None:
        self.limit = limit
        self._seen: deque[tuple[float, bool]] = deque()
        self._errors = 0

    def record(self, at: float, *, is_error: bool) -> str:
        """Count one operation; return why it is too much, and begin anew, or nothing.

        Args:
            at: seconds of the monotonic clock.
            is_error: whether it failed.
        """
        self._seen.append((at, is_error))
        self._errors += is_error
        reason = judged(self.tally(at), self.limit)
        if reason:
            # What was judged once is not judged again: the next word needs new errors.
            self._seen.clear()
            self._errors = 0
        return reason

    def tally(self, at: float) -> Tally:
        """Return what the window that ends at ``at`` holds."""
        while self._seen and self._seen[0][0] <= at - self.limit.window_seconds:
            self._errors -= self._seen.popleft()[1]
        return Tally(operations=len(self._seen), errors=self._errors)
