# ruff: noqa: T201 - a command prints its figures
"""Every step of a day goes wrong once: crashes, a disk that refuses; none is left to chance."""

import datetime as dt
import os
import sys
from collections.abc import Mapping, Sequence

from tests.simulation.branching import Branches, Crashes, Ending, Explorer, Troubles
from tests.simulation.power import PowerCuts
from tests.simulation.simulation import Scenario, Simulation, simulate

# Orders that rest, fill in parts and are canceled; no other fault than the crash.
_LIVELY = frozenset({"fill.partial", "fill.while_canceling"})
# Fewer looks make fewer equal steps; every kind of step is in.
_LOOKS = 1800.0
_MOST_TOLD = 20


def _day(start: str, *, days: int = 1, seed: int = 8, also: Sequence[str] = ()) -> Scenario:
    return Scenario(
        seed=seed,
        days=days,
        only=_LIVELY | set(also),
        start=dt.date.fromisoformat(start),
        look_seconds=_LOOKS,
    )


DAYS: Mapping[str, Scenario] = {
    # The database is empty on each first day; where there are two, the second finds holdings.
    "first-day": _day("2022-05-03"),
    "ordinary": _day("2022-05-03", days=2),
    "half-day": _day("2022-11-23", days=2),
    "daylight-saving": _day("2022-03-11", days=2),
    "split": _day("2022-05-03", days=2, also=("corporate.split",)),
    "halt": _day("2022-05-03", days=2, also=("market.slump",)),
    "unclear": _day("2023-06-14", seed=9, also=("send.lost_after", "order.hidden")),
    "kill": Scenario(seed=8, days=1, only=_LIVELY, kill_at_minute=0.1, look_seconds=_LOOKS),
    "flatten": Scenario(
        seed=8, days=1, only=_LIVELY, kill_at_minute=90, flatten=True, look_seconds=_LOOKS
    ),
}
MODES: Mapping[str, str] = {
    "crashes": "a crash after each durable step and each write to the broker",
    "pairs": "a second crash after each step of the start that follows the first",
    "power": "the power goes in each commit and after each step: what is not synced is gone",
    "disk": "each operation of the disk fails in each way, once and for ten minutes",
}


def run(name: str, mode: str, *, only: Sequence[str] = ()) -> int:
    """Play one canonical day, or all of them, once for everything that may go wrong."""
    bad = 0
    for one in list(DAYS) if name == "all" else [name]:
        if one not in DAYS:
            sys.stderr.write(f"there is no day {one}: choose from {', '.join(DAYS)}\n")
            return 2
        bad += _every_branch(one, mode, only)
    return 1 if bad else 0


def endings(name: str, mode: str, *, only: Sequence[str] = (), every: int = 1) -> list[Ending]:
    """Play a day with its branches, all or every so many; return how each ended."""

    def explore(branches: Branches, day: Simulation) -> Explorer:
        branches.only, branches.every = tuple(only), every
        if mode == "power":
            return PowerCuts(branches, day.world.disk, day.world.clock, day.lives.power_off)
        if mode == "disk":
            return Troubles(branches)
        return Crashes(branches, 2 if mode == "pairs" else 1)

    outcome = simulate(DAYS[name], explore=explore)
    plain = Ending(path=(), violations=outcome.violations, trace=outcome.trace)
    return [plain, *outcome.endings]


def _every_branch(name: str, mode: str, only: Sequence[str]) -> int:
    before = _cpu_seconds()
    found = endings(name, mode, only=only)
    bad = [ending for ending in found if ending.violations]
    for ending in bad[:_MOST_TOLD]:
        _tell(name, mode, ending)
    count = sum(1 for ending in found if ending.path)
    print(
        f"{name:16} {mode:8} {count:6} branches, {len(bad)} with violations,"
        f" {_cpu_seconds() - before:.0f} CPU s",
        flush=True,
    )
    return len(bad)


def _tell(name: str, mode: str, ending: Ending) -> None:
    print(f"{name}: {' / '.join(ending.path) or 'the day itself'}")
    for invariant, text in ending.violations:
        print(f"  VIOLATION {invariant}: {text}")
    steps = " ".join(f"--branch '{label}'" for label in ending.path)
    print(
        f"  replay: .venv/bin/python -m tests.simulation --exhaustive {name} --mode {mode} {steps}"
    )


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
