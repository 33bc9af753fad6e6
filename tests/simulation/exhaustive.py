# ruff: noqa: T201 - a command prints its figures
"""Crash at every durable step and every network write of a day; none is left to chance."""

import dataclasses
import datetime as dt
import sys
import time
from collections.abc import Mapping

from tests.simulation.simulation import Outcome, Scenario, simulate

# Orders that rest, fill in parts and are canceled; no other fault than the crash.
_LIVELY = frozenset({"fill.partial", "fill.while_canceling"})
# Fewer looks make fewer equal steps; every kind of step is in.
_LOOKS = 1800.0

DAYS: Mapping[str, Scenario] = {
    "ordinary": Scenario(
        seed=8, days=1, only=_LIVELY, start=dt.date(2022, 5, 3), look_seconds=_LOOKS
    ),
    "half-day": Scenario(
        seed=8, days=1, only=_LIVELY, start=dt.date(2022, 11, 25), look_seconds=_LOOKS
    ),
    "daylight-saving": Scenario(
        seed=8, days=1, only=_LIVELY, start=dt.date(2022, 3, 14), look_seconds=_LOOKS
    ),
    "unclear": Scenario(
        seed=9,
        days=1,
        only=_LIVELY | {"send.lost_after", "send.lost_before", "order.hidden"},
        look_seconds=_LOOKS,
    ),
    "kill": Scenario(seed=8, days=1, only=_LIVELY, kill_at_minute=0.1, look_seconds=_LOOKS),
    "flatten": Scenario(
        seed=8, days=1, only=_LIVELY, kill_at_minute=90, flatten=True, look_seconds=_LOOKS
    ),
    "split": Scenario(seed=8, days=2, only=_LIVELY | {"corporate.split"}, look_seconds=_LOOKS),
}


def run(name: str, *, is_pairs: bool) -> int:
    """Play one canonical day, or all of them, once for every crash point."""
    names = list(DAYS) if name == "all" else [name]
    bad = 0
    for one in names:
        if one not in DAYS:
            sys.stderr.write(f"there is no day {one}: choose from {', '.join(DAYS)}\n")
            return 2
        bad += every_point(one, is_pairs=is_pairs)
    return 1 if bad else 0


def every_point(name: str, *, is_pairs: bool = False) -> int:
    """Return how many crash points ended in a violation; the daemon's and the command's."""
    started = time.process_time()
    plain = simulate(DAYS[name])
    played = bad = pairs = 0
    bad += _blame(name, DAYS[name], plain)
    for scenario, outcome in crashes(DAYS[name], plain):
        played += 1
        bad += _blame(name, scenario, outcome)
        if is_pairs:
            for twice, again in crashes_again(scenario, outcome):
                pairs += 1
                bad += _blame(name, twice, again)
    print(
        f"{name:16} {plain.steps} steps of the daemon, {plain.kill_steps} of the command,"
        f" {played} crash points, {pairs} pairs, {bad} with violations,"
        f" {time.process_time() - started:.0f} CPU s"
    )
    return bad


def crashes(day: Scenario, plain: Outcome):  # type: ignore[no-untyped-def]
    """Yield the day with a crash at each step."""
    for point in range(1, plain.steps + 1):
        scenario = dataclasses.replace(day, crash_at=(point,))
        yield scenario, simulate(scenario)
    for point in range(1, plain.kill_steps + 1):
        scenario = dataclasses.replace(day, kill_crash_at=point)
        yield scenario, simulate(scenario)


def crashes_again(once: Scenario, outcome: Outcome):  # type: ignore[no-untyped-def]
    """Yield the day with a second crash at each step of the recovery of the first."""
    if not once.crash_at or len(outcome.steps_of_lives) < 2:
        return
    for point in range(1, min(outcome.recovery_steps, outcome.steps_of_lives[1]) + 1):
        scenario = dataclasses.replace(once, crash_at=(*once.crash_at, point))
        yield scenario, simulate(scenario)


def _blame(name: str, scenario: Scenario, outcome: Outcome) -> int:
    for invariant, text in outcome.violations:
        print(f"{name} crash at {scenario.crash_at or scenario.kill_crash_at}: {invariant} {text}")
    return 1 if outcome.violations else 0
