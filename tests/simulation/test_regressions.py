"""What the simulation found, each by the shortest story that showed it."""

from tests.simulation.simulation import Scenario, simulate

HOURS = 3600.0


def test_runs_of_a_session_that_the_host_slept_through_are_written_down() -> None:
    # Found as seeds 4 and 12: after an outage over the close the day had no row for its end.
    outcome = simulate(
        Scenario(seed=1, days=3, only=frozenset(), crash_at=(100,), outages=(30 * HOURS,))
    )
    assert outcome.lives == 2
    assert outcome.violations == []
