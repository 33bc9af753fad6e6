"""The runs of a day, for any calendar day, any setting and any order of wake-ups."""

import datetime as dt
import itertools
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.config import Schedule
from daemon.schedule import DueRun, RunKind, day_plan
from domain.clock import ManualClock
from domain.market import Session
from marketdata.session_calendar import NyseCalendar
from state.runs import Runs, RunState
from state.store import Store

NEW_YORK = ZoneInfo("America/New_York")
CALENDAR = NyseCalendar()
SESSIONS = CALENDAR.sessions(dt.date(2019, 1, 1), dt.date(2024, 12, 31))
# Half days, and the first sessions after each change of clocks, more often than by chance.
ODD = [
    session
    for before, session in itertools.pairwise(SESSIONS)
    if session.is_half_day or before.open.time() != session.open.time()
]
sessions = st.one_of(st.sampled_from(SESSIONS), st.sampled_from(ODD))
schedules = st.builds(
    Schedule,
    premarket_minutes_before_open=st.integers(5, 330),
    submit_minutes_before_open=st.integers(1, 60),
    entry_cutoff_minutes_after_open=st.integers(0, 390),
    eod_minutes_after_close=st.integers(1, 240),
)


def by_kind(session: Session, schedule: Schedule) -> dict[RunKind, DueRun]:
    return {due.kind: due for due in day_plan(session, schedule)}


@given(session=sessions, schedule=schedules)
def test_runs_are_due_in_their_order_and_never_after_they_are_pointless(
    session: Session, schedule: Schedule
) -> None:
    plan = day_plan(session, schedule)
    assert [due.kind for due in plan] == list(RunKind)[:4]
    assert [due.at for due in plan] == sorted(due.at for due in plan)
    assert all(due.at <= due.latest for due in plan)
    entries = by_kind(session, schedule)[RunKind.SUBMIT]
    assert entries.at < session.open <= entries.latest <= session.close


@given(session=sessions, other=sessions, schedule=schedules)
def test_the_clock_on_the_wall_in_new_york_is_the_same_in_summer_and_winter(
    session: Session, other: Session, schedule: Schedule
) -> None:
    for kind in (RunKind.PREMARKET, RunKind.SUBMIT):
        times = {
            by_kind(day, schedule)[kind].at.astimezone(NEW_YORK).time() for day in (session, other)
        }
        assert len(times) == 1


@given(session=sessions, schedule=schedules)
def test_the_report_follows_the_close_on_half_days_too(
    session: Session, schedule: Schedule
) -> None:
    end = by_kind(session, schedule)[RunKind.END_OF_DAY]
    after = dt.timedelta(minutes=schedule.eod_minutes_after_close)
    assert end.at == session.close + after
    assume(session.is_half_day)
    assert session.close.astimezone(NEW_YORK).time() == dt.time(13)


class Wakeups(RuleBasedStateMachine):
    """Bells that ring early, late, twice and out of order; processes that die in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock(SESSIONS[0].open)
        self.open()
        self.done: dict[tuple[dt.date, str], int] = {}
        self.ended: dict[str, tuple[RunState, str]] = {}

    def open(self) -> None:
        self.store = Store.open(Path(self.folder.name) / "var", clock=self.clock)
        self.runs = Runs(self.store)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(
        session=st.sampled_from(SESSIONS[:2]),
        kind=st.sampled_from(RunKind),
        state=st.sampled_from([None, RunState.DONE, RunState.SKIPPED, RunState.FAILED]),
    )
    def ring(self, session: Session, kind: RunKind, state: RunState | None) -> None:
        run_id = self.runs.begin(session.date, kind.value, self.clock.now())
        if run_id is None:
            return
        key = (session.date, kind.value)
        self.done[key] = self.done.get(key, 0) + 1
        if state is not None:
            self.runs.finish(run_id, state, f"it is {state.value}", self.clock.now())
            self.ended[run_id] = (state, f"it is {state.value}")

    @rule(minutes=st.integers(-2_000, 2_000))
    def turn_the_clock(self, minutes: int) -> None:
        self.clock = ManualClock(self.clock.now() + dt.timedelta(minutes=minutes))
        self.store.clock = self.clock

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def each_run_is_begun_once(self) -> None:
        assert set(self.done.values()) <= {1}

    @invariant()
    def what_ended_stays_as_it_ended(self) -> None:
        for (date, kind), _ in self.done.items():
            run = self.runs.get(date, kind)
            assert run is not None
            expected = self.ended.get(run.run_id, (RunState.RUNNING, ""))
            assert (run.state, run.reason) == expected


TestWakeups = Wakeups.TestCase
TestWakeups.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
