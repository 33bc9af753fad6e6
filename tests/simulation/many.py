# ruff: noqa: T201 - a command prints its figures
"""Many seeds, in one process or several, and what they add up to."""

import gc
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from tests.simulation import fault_counts
from tests.simulation.faults import CLASSES
from tests.simulation.simulation import Outcome, Scenario, simulate

_TWICE_EVERY = 50
BROKEN = "X04"
"""What is blamed where the simulation itself ends by an error."""

Build = Callable[[int], Scenario]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One seed's outcome, how often it was played, and the CPU seconds of that."""

    outcome: Outcome
    times: int
    seconds: float


@dataclass(kw_only=True)
class Tally:
    """The sum of many outcomes."""

    days_each: int
    seeds: int = 0
    twice: int = 0
    bad: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)

    def add(self, played: Played) -> None:
        """Count one seed."""
        outcome = played.outcome
        self.seeds += 1
        self.twice += played.times - 1
        self.seconds += played.seconds
        self.faults.update(outcome.faults)
        self.bad += bool(outcome.violations)
        self.broken.update({invariant for invariant, _ in outcome.violations})
        for name in ("lives", "steps", "orders", "executions", "kills", "resumes", "reports"):
            self.sums[name] += getattr(outcome, name)
        self.sums["reconciled"] += outcome.reconciled

    @property
    def rate(self) -> float:
        """Days for each CPU second, those played twice included."""
        return (self.seeds + self.twice) * self.days_each / max(self.seconds, 0.001)

    def rows(self, first: int) -> dict[str, object]:
        """Return the summary, row by row."""
        sums = self.sums
        return {
            "seeds": f"{self.seeds}, from {first} on",
            "simulated days": self.seeds * self.days_each,
            "lives of the daemon": sums["lives"],
            "durable steps and writes": sums["steps"],
            "orders sent": sums["orders"],
            "executions": sums["executions"],
            "kills / resumes": f"{sums['kills']} / {sums['resumes']}",
            "reports / reconciled": f"{sums['reports']} / {sums['reconciled']}",
            "faults fired": sum(self.faults.values()),
            "seeds played twice": self.twice,
            "CPU seconds": f"{self.seconds:.1f}",
            "days per CPU second": f"{self.rate:.1f}",
            "seeds with violations": self.bad,
        }


def play(
    seeds: range,
    build: Build,
    *,
    jobs: int = 1,
    minutes: float,
    on_bad: Callable[[Outcome], None],
    stops: bool = False,
    is_quiet: bool = False,
) -> Tally:
    """Play seeds until all are done or the time is over.

    Args:
        seeds: which.
        build: the scenario of a seed.
        jobs: processes side by side.
        minutes: begin no seed after these.
        on_bad: told of each outcome with violations.
        stops: end at the first of them.
        is_quiet: no progress.
    """
    tally = Tally(days_each=build(0).days)
    in_time = _before(seeds, time.monotonic() + minutes * 60)
    in_turn = (_played(build, seed) for seed in in_time)
    for played in _side_by_side(in_time, build, jobs) if jobs > 1 else in_turn:
        tally.add(played)
        if played.outcome.violations:
            on_bad(played.outcome)
        if not is_quiet:
            _progress(tally, len(seeds))
        if stops and tally.bad:
            break
    return tally


def tell(tally: Tally, first: int, *, with_fault_rows: bool) -> None:
    """Print the summary."""
    print("\nfaults by class")
    for name in CLASSES:
        print(f"  {tally.faults[name]:8} {name}")
    print()
    for name, value in tally.rows(first).items():
        print(f"{name:26} {value}")
    for invariant, count in sorted(tally.broken.items()):
        print(f"{invariant:26} violated by {count} seeds")
    if with_fault_rows:
        print(fault_counts.table(tally.faults))


def _before(seeds: range, until: float) -> Iterator[int]:
    for seed in seeds:
        if time.monotonic() > until:
            return
        yield seed


def _side_by_side(seeds: Iterator[int], build: Build, jobs: int) -> Iterator[Played]:
    with ProcessPoolExecutor(jobs, initializer=be_quick) as pool:
        pending: set[Future[Played]] = set()
        while True:
            # Few at once, so that none begins long after the time is over.
            fresh = itertools.islice(seeds, 2 * jobs - len(pending))
            pending |= {pool.submit(_played, build, seed) for seed in fresh}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def be_quick() -> None:
    """Look for garbage seldom: a simulated day makes much, and little of it in circles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def _played(build: Build, seed: int) -> Played:
    began = time.process_time()
    outcome = _outcome(build(seed))
    is_twice = seed % _TWICE_EVERY == 0
    if is_twice:
        again = _outcome(build(seed))
        if again.trace != outcome.trace:
            outcome.violations.append(("I21", f"{outcome.trace}, then {again.trace}"))
    return Played(outcome=outcome, times=1 + is_twice, seconds=time.process_time() - began)


def _outcome(scenario: Scenario) -> Outcome:
    """Play one seed; that the simulation itself breaks is an outcome too, and names the seed."""
    try:
        return simulate(scenario)
    except Exception as exc:  # noqa: BLE001 - a long run tells of it, and goes on
        broken = Outcome(seed=scenario.seed, days=scenario.days)
        broken.violations.append((BROKEN, f"the simulation broke: {exc!r}"))
        return broken


def _progress(tally: Tally, seeds: int) -> None:
    if tally.seeds % 10 and tally.seeds != seeds:
        return
    sys.stderr.write(
        f"\r{tally.seeds}/{seeds} seeds, {tally.rate:.1f} days a CPU second,"
        f" {tally.bad} with violations "
    )
    sys.stderr.flush()
    if tally.seeds == seeds:
        sys.stderr.write("\n")
