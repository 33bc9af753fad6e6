"""Many seeds: what a run adds up, in one process or several."""

from functools import partial

from tests.simulation import many
from tests.simulation.simulation import Outcome, Scenario

SEEDS = range(1003, 1006)


def scenario(seed: int, *, is_canary: bool = False) -> Scenario:
    return Scenario(seed=seed, days=1, look_seconds=900, is_canary=is_canary)


def test_two_processes_add_up_to_what_one_does() -> None:
    one, two = (
        many.play(SEEDS, scenario, jobs=jobs, minutes=5, on_bad=print, is_quiet=True)
        for jobs in (1, 2)
    )

    assert one.seeds == two.seeds == 3
    assert one.sums == two.sums
    assert one.faults == two.faults


def test_a_run_ends_at_the_first_violation_when_told_to() -> None:
    bad: list[Outcome] = []

    tally = many.play(
        SEEDS,
        partial(scenario, is_canary=True),
        minutes=5,
        on_bad=bad.append,
        stops=True,
        is_quiet=True,
    )

    assert len(bad) == tally.bad == 1
    assert tally.seeds == SEEDS.index(bad[0].seed) + 1


def test_no_seed_begins_after_the_time_is_over() -> None:
    tally = many.play(SEEDS, scenario, minutes=0, on_bad=print, is_quiet=True)

    assert tally.seeds == 0
