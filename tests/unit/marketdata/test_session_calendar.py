import datetime as dt
import subprocess
import sys

import pytest

from domain.clock import UTC
from domain.errors import DataError
from marketdata.session_calendar import NyseCalendar, day_start, new_york, trading_date


@pytest.fixture(scope="module")
def calendar() -> NyseCalendar:
    return NyseCalendar()


def test_an_ordinary_winter_session_opens_at_half_past_two_utc(calendar: NyseCalendar) -> None:
    session = calendar.session_on(dt.date(2022, 12, 14))

    assert session is not None
    assert session.open == dt.datetime(2022, 12, 14, 14, 30, tzinfo=UTC)
    assert session.close == dt.datetime(2022, 12, 14, 21, 0, tzinfo=UTC)
    assert session.open.tzinfo is UTC
    assert not session.is_half_day


@pytest.mark.parametrize(
    ("date", "hour"),
    [
        (dt.date(2026, 3, 6), 14),
        (dt.date(2026, 3, 9), 13),  # New York is on summer time, Europe is not
        (dt.date(2026, 10, 30), 13),
        (dt.date(2026, 11, 2), 14),
    ],
)
def test_opens_follow_the_clock_change_of_new_york(
    calendar: NyseCalendar, date: dt.date, hour: int
) -> None:
    session = calendar.session_on(date)

    assert session is not None
    assert (session.open.hour, session.open.minute) == (hour, 30)
    assert new_york(session.open).time() == dt.time(9, 30)


@pytest.mark.parametrize("date", [dt.date(2026, 11, 27), dt.date(2026, 12, 24)])
def test_half_days_close_at_one_in_new_york(calendar: NyseCalendar, date: dt.date) -> None:
    session = calendar.session_on(date)

    assert session is not None
    assert session.is_half_day
    assert new_york(session.close).time() == dt.time(13, 0)


@pytest.mark.parametrize(
    "date",
    [
        dt.date(2022, 12, 26),  # Christmas on a Sunday, kept on the Monday
        dt.date(2022, 12, 17),  # a Saturday
        dt.date(2001, 9, 12),  # closed without notice
        dt.date(2025, 1, 9),  # day of mourning
    ],
)
def test_a_closed_day_has_no_session(calendar: NyseCalendar, date: dt.date) -> None:
    assert calendar.session_on(date) is None


def test_the_session_under_way_is_the_next_one_until_its_close(calendar: NyseCalendar) -> None:
    session = calendar.session_on(dt.date(2022, 12, 14))
    assert session is not None

    assert calendar.next_session(session.open) == session
    assert calendar.next_session(session.close - dt.timedelta(microseconds=1)) == session
    assert calendar.next_session(session.close).date == dt.date(2022, 12, 15)


def test_previous_session_steps_over_a_holiday_weekend(calendar: NyseCalendar) -> None:
    assert calendar.previous_session(dt.date(2022, 12, 27)).date == dt.date(2022, 12, 23)
    assert calendar.previous_session(dt.date(2022, 12, 24)).date == dt.date(2022, 12, 23)


def test_sessions_include_both_ends(calendar: NyseCalendar) -> None:
    dates = [s.date for s in calendar.sessions(dt.date(2022, 12, 23), dt.date(2022, 12, 28))]

    assert dates == [dt.date(2022, 12, 23), dt.date(2022, 12, 27), dt.date(2022, 12, 28)]


def test_a_date_outside_the_calendar_is_an_error_that_names_the_range() -> None:
    calendar = NyseCalendar(dt.date(2022, 1, 3), dt.date(2022, 12, 30))

    with pytest.raises(DataError, match="2022-01-03 to 2022-12-30"):
        calendar.session_on(dt.date(2023, 1, 3))
    with pytest.raises(DataError, match="choose a date inside it"):
        calendar.previous_session(dt.date(2022, 1, 3))
    with pytest.raises(DataError, match="covers"):
        calendar.next_session(dt.datetime(2022, 12, 30, 21, 0, tzinfo=UTC))


def test_day_start_is_midnight_in_new_york() -> None:
    assert day_start(dt.date(2022, 12, 14)) == dt.datetime(2022, 12, 14, 5, tzinfo=UTC)
    assert day_start(dt.date(2022, 7, 14)) == dt.datetime(2022, 7, 14, 4, tzinfo=UTC)
    assert trading_date(day_start(dt.date(2022, 7, 14))) == dt.date(2022, 7, 14)


def test_importing_the_calendar_loads_nothing_heavy() -> None:
    code = (
        "import sys, marketdata.session_calendar\n"
        "print([m for m in ('pandas', 'numpy', 'exchange_calendars') if m in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
