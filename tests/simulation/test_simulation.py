"""A bounded share of the simulation; `make simulate` plays as much as one likes."""

import dataclasses

import pytest

from tests.simulation import exhaustive
from tests.simulation.branching import Ending
from tests.simulation.faults import CLASSES, Faults
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


@pytest.fixture(scope="module")
def day_of_a_kill() -> list[Ending]:
    return exhaustive.endings("kill", "crashes", every=8)


def test_a_crash_at_a_step_of_a_day_with_a_kill_loses_and_doubles_nothing(
    day_of_a_kill: list[Ending],
) -> None:
    assert len(day_of_a_kill) > 10
    assert [ending for ending in day_of_a_kill if ending.violations] == []


def test_a_disk_that_refuses_anything_on_a_day_with_a_kill_loses_and_doubles_nothing() -> None:
    endings = exhaustive.endings("kill", "disk", every=100)
    assert len(endings) > 10
    assert [ending for ending in endings if ending.violations] == []


@pytest.mark.slow
@pytest.mark.parametrize("day", exhaustive.DAYS)
def test_a_crash_at_any_step_of_any_day_loses_and_doubles_nothing(day: str) -> None:
    assert [one for one in exhaustive.endings(day, "crashes") if one.violations] == []


def test_a_branch_ends_as_the_day_played_from_its_beginning_with_the_same_crash(
    day_of_a_kill: list[Ending],
) -> None:
    day = exhaustive.DAYS["kill"]
    plain, *branches = day_of_a_kill
    one = next(e for e in branches[5:] if e.path[0].startswith("daemon 0 step "))
    step = int(one.path[0].split()[3])
    assert one.trace == simulate(dataclasses.replace(day, crash_at=(step,))).trace
    assert plain.trace == simulate(day).trace
    assert exhaustive.endings("kill", "crashes", only=one.path) == [plain, one]
