"""A bounded share of the simulation; `make simulate` plays as much as one likes."""

import dataclasses
from pathlib import Path

import pytest

from tests.simulation import exhaustive
from tests.simulation.faults import CLASSES, Faults
from tests.simulation.planted import BUGS, ROOT, plant
from tests.simulation.simulation import Scenario, simulate


@pytest.mark.parametrize("first", range(0, 24, 4))
def test_no_invariant_is_violated_in_days_full_of_faults(first: int) -> None:
    for seed in range(first + 1, first + 5):
        outcome = simulate(Scenario(seed=seed, days=2, look_seconds=300))
        assert outcome.violations == [], f"python -m tests.simulation --seed {seed} --days 2"


def test_a_seed_replays_to_the_same_trace() -> None:
    scenario = Scenario(seed=1003, days=2, look_seconds=300)
    one, two = simulate(scenario), simulate(scenario)
    assert one.trace == two.trace
    assert one.faults == two.faults


def test_dropping_a_fault_class_leaves_the_dice_of_the_others_alone() -> None:
    whole = Faults(7)
    name = sorted(whole.rates)[0]
    less = Faults(7, dropped={name})
    assert less.rates == {n: rate for n, rate in whole.rates.items() if n != name}
    other = sorted(less.rates)[0]
    assert [whole.strikes(other) for _ in range(50)] == [less.strikes(other) for _ in range(50)]


def test_every_fault_class_is_in_some_swarm() -> None:
    drawn = set()
    for seed in range(40):
        drawn |= set(Faults(seed).rates)
    assert drawn == set(CLASSES)


@pytest.mark.parametrize("point", range(1, 160, 12))
def test_a_crash_at_any_step_of_an_ordinary_day_loses_and_doubles_nothing(point: int) -> None:
    day = exhaustive.DAYS["ordinary"]
    outcome = simulate(dataclasses.replace(day, crash_at=(point,)))
    assert outcome.violations == []


@pytest.mark.parametrize("point", range(1, 12, 2))
def test_a_crash_at_any_step_of_a_kill_leaves_the_latch_engaged(point: int) -> None:
    day = exhaustive.DAYS["kill"]
    outcome = simulate(dataclasses.replace(day, kill_crash_at=point))
    assert outcome.violations == []


def test_planted_bugs_still_fit_the_code(tmp_path: Path) -> None:
    for bug in BUGS:
        for path in {path for path, _, _ in bug.changes}:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes((ROOT / path).read_bytes())
        plant(tmp_path, bug)
