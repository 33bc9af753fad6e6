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


def test_a_deposit_or_withdrawal_moves_the_high_water_mark_by_its_amount() -> None:
    # Found as seeds 307, 311 and 326: no transfer ever reached the high-water mark, so that
    # a withdrawal of 7.5 % counted as a drawdown and engaged the latch.
    outcomes = [
        simulate(Scenario(seed=seed, days=3, only=frozenset({"money.transfer"})))
        for seed in (1, 2, 3)
    ]
    assert any(outcome.faults["money.transfer"] for outcome in outcomes)
    assert [outcome.violations for outcome in outcomes] == [[], [], []]
