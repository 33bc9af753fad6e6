"""What the simulation found, each by the shortest story that showed it."""

import dataclasses
import datetime as dt
from contextlib import closing, suppress
from contextvars import copy_context
from pathlib import Path

from domain.errors import StorageError
from state.store import Store
from tests.simulation.disk import Disk, shims
from tests.simulation.faults import Faults
from tests.simulation.loop import SimClock, SimLoop
from tests.simulation.processes import Process, enter
from tests.simulation.simulation import Scenario, simulate
from tests.simulation.trouble import Trouble

HOURS = 3600.0


class _Refusing:
    """Lets one operation of the disk fail."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.operations = 0

    def dies(self, _process: Process, _what: str) -> bool:
        return False

    def trouble(
        self, _process: Process, _what: str, among: tuple[Trouble, ...]
    ) -> tuple[Trouble, float] | None:
        self.operations += 1
        return (among[0], 0.0) if self.operations == self.at else None


def _start(directory: Path, clock: SimClock, refusing: _Refusing) -> None:
    process = Process("daemon 0", Faults(0, only=()))
    process.watcher = refusing
    enter(process)
    Store.open(directory, clock=clock).close()


def test_a_disk_that_refuses_during_the_first_start_does_not_hinder_the_second(
    tmp_path: Path,
) -> None:
    # Found as seeds 307 and 310: an empty mark, or some tables without the others, and every
    # later start refused the new directory.
    whole = _Refusing(at=0)
    with closing(SimLoop()) as loop, shims(Disk(loop.time)):
        clock = SimClock(dt.datetime(2023, 6, 14, tzinfo=dt.UTC), loop)
        copy_context().run(_start, tmp_path / "whole", clock, whole)
        for at in range(1, whole.operations, 5):
            directory = tmp_path / str(at)
            with suppress(StorageError):
                copy_context().run(_start, directory, clock, _Refusing(at))
            copy_context().run(_start, directory, clock, _Refusing(at=0))
    assert whole.operations > 50


def test_runs_of_a_session_that_the_host_slept_through_are_written_down() -> None:
    # Found as seeds 4 and 12: after an outage over the close the day had no row for its end.
    outcome = simulate(
        Scenario(
            seed=1,
            days=3,
            only=frozenset(),
            crash_at=(100,),
            outages=(30 * HOURS,),
            look_seconds=150,
        )
    )
    assert outcome.lives == 2
    assert outcome.violations == []


def test_a_deposit_or_withdrawal_moves_the_high_water_mark_by_its_amount() -> None:
    # Found as seeds 307, 311 and 326: no transfer ever reached the high-water mark, so that
    # a withdrawal of 7.5 % counted as a drawdown and engaged the latch.
    outcomes = [
        simulate(Scenario(seed=seed, days=3, only=frozenset({"money.transfer"}), look_seconds=150))
        for seed in (1, 2, 3)
    ]
    assert any(outcome.faults["money.transfer"] for outcome in outcomes)
    assert [outcome.violations for outcome in outcomes] == [[], [], []]


def test_a_closing_order_that_was_taken_is_not_sent_again_while_it_does_not_show() -> None:
    # Found as seeds 1 and 22, here as 77 and 86: the accepted order was hidden for seconds and
    # had filled meanwhile, so the next round of the flatten wrote it a second time.
    day = Scenario(
        seed=77,
        days=1,
        only=frozenset({"order.hidden", "broker.forgets_ids"}),
        look_seconds=1800,
        kill_at_minute=90,
        flatten=True,
    )
    outcomes = [simulate(day), simulate(dataclasses.replace(day, seed=86))]
    assert [outcome.kills for outcome in outcomes] == [1, 1]
    assert [outcome.violations for outcome in outcomes] == [[], []]


def test_a_deposit_before_the_first_look_of_a_session_is_no_loss_of_it() -> None:
    # Found as seeds 206 and 223, here as 28 and 53: the session's first equity had the money
    # in it already, and it was taken off once more as a flow: a deposit engaged the latch.
    only = frozenset({"money.transfer"})
    outcomes = [
        simulate(Scenario(seed=seed, days=2, only=only, look_seconds=900)) for seed in (28, 53)
    ]
    assert all(outcome.faults["money.transfer"] for outcome in outcomes)
    assert [outcome.violations for outcome in outcomes] == [[], []]


def test_a_deposit_that_comes_in_the_middle_of_a_look_is_no_loss() -> None:
    # Beside a break, and before a comparison that failed: the mark rose by it twice, or equity
    # lost it again, and a "drawdown" of 6 % engaged the latch.
    only = frozenset({"money.in_a_look", "books.broken"})
    outcomes = [
        simulate(Scenario(seed=seed, days=2, only=only, look_seconds=150)) for seed in (8, 17)
    ]
    assert all(outcome.faults["money.in_a_look"] for outcome in outcomes)
    assert [outcome.violations for outcome in outcomes] == [[], []]


def test_a_transfer_that_is_dated_at_the_midnight_before_is_no_drawdown() -> None:
    only = frozenset({"money.transfer", "money.transfer_dated"})
    outcomes = [
        simulate(Scenario(seed=seed, days=3, only=only, look_seconds=150)) for seed in (1, 2, 3)
    ]
    assert any(outcome.faults["money.transfer_dated"] for outcome in outcomes)
    assert [outcome.violations for outcome in outcomes] == [[], [], []]


def test_a_session_whose_close_nobody_read_does_not_end_with_the_next() -> None:
    # Down from the second afternoon until the third session runs.
    outcome = simulate(
        Scenario(
            seed=2,
            days=3,
            only=frozenset({"market.swing", "forecast.steady"}),
            crash_at=(400,),
            outages=(21 * HOURS,),
            look_seconds=150,
        )
    )
    assert (outcome.lives, outcome.reports) == (2, 3)
    assert outcome.violations == []


def test_a_late_closing_sale_is_not_taken_beside_its_twin() -> None:
    # Found as seeds 40030, 40074 and 40229, here as 249 and 400: a closing order that was
    # not answered, or that a crash cut off, was written again and both were taken.
    late = Scenario(
        seed=249,
        days=1,
        only=frozenset(
            {"send.late", "broker.forgets_ids", "process.crash", "order.hidden", "send.slow"}
        ),
        look_seconds=1800,
        kill_at_minute=90,
        flatten=True,
    )
    outcomes = [simulate(dataclasses.replace(late, seed=seed)) for seed in (249, 400)]
    assert all(outcome.forbidden_sales for outcome in outcomes)
    assert [outcome.violations for outcome in outcomes] == [[], []]
