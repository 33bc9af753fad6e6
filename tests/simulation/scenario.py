"""What is simulated, and what came of it."""

import datetime as dt
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.market import Session
from tests.simulation.branching import Ending
from tests.simulation.checkers.evidence import Violations
from tests.simulation.market import calendar

# Ordinary weeks, Thanksgiving's half day, both changes of daylight saving, year's end.
STARTS = tuple(
    map(
        dt.date.fromisoformat,
        ("2022-05-02", "2022-11-25", "2022-03-11", "2022-11-04", "2022-12-30", "2023-06-14"),
    )
)

# Seconds between looks at the broker, and how many seeds of twenty take them.  A look costs as
# much as all else in half an hour, and finds little that the one before did not.
LOOKS = {30.0: 1, 150.0: 5, 600.0: 14}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is simulated."""

    seed: int
    days: int = 2
    dropped: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    start: dt.date | None = None
    crash_at: tuple[int, ...] = ()
    outages: tuple[float, ...] = ()
    kill_at_minute: float | None = None
    kill_crash_at: int | None = None
    flatten: bool = False
    look_seconds: float | None = None
    is_canary: bool = False

    def sessions(self) -> Sequence[Session]:
        """Return the sessions that are played."""
        first = self.start or STARTS[self.seed % len(STARTS)]
        found = calendar().sessions(first, first + dt.timedelta(days=3 * self.days + 6))
        return found[: self.days]

    def every_seconds(self) -> float:
        """Return how often the daemon looks at the broker."""
        draw = random.Random(f"{self.seed}:look")
        drawn = draw.choices(list(LOOKS), weights=list(LOOKS.values()))[0]
        return self.look_seconds or drawn


@dataclass(kw_only=True)
class Outcome:
    """What came of it."""

    seed: int
    days: int
    trace: str = ""
    steps: int = 0
    orders: int = 0
    executions: int = 0
    lives: int = 0
    kills: int = 0
    forbidden_sales: int = 0
    """Closing sales of more than is held, written where the broker refuses short sales."""
    resumes: int = 0
    reports: int = 0
    reconciled: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    steps_of_lives: list[int] = field(default_factory=list)
    kill_steps: int = 0
    busiest: int = 0
    violations: Violations = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
