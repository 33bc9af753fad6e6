"""Bars with times that cannot be: of tomorrow, or in another unit."""

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import Symbol
from domain.market import Bar
from marketdata.session_calendar import NyseCalendar, day_start
from marketdata.validation import BarRules, validate

ACME = Symbol("ACME")
RULES = BarRules(look_back=20, min_history=25)
CALENDAR = NyseCalendar()
SESSIONS = tuple(CALENDAR.sessions(dt.date(2022, 10, 3), dt.date(2022, 12, 13)))
BARS = [
    Bar(symbol=ACME, at=day_start(one.date), close=100 + number % 7, volume=1000)
    for number, one in enumerate(SESSIONS)
]


def excluded(bars: list[Bar]) -> str | None:
    return validate({ACME: bars}, SESSIONS, symbols=[ACME], rules=RULES).excluded.get(ACME)


def test_bars_at_their_own_times_pass() -> None:
    assert excluded(BARS) is None


@given(st.integers(min_value=1, max_value=4_000))
def test_f12_a_bar_of_a_session_that_is_not_over_takes_the_symbol_out(days: int) -> None:
    future = dataclasses.replace(BARS[-1], at=BARS[-1].at + dt.timedelta(days=days))

    assert excluded([*BARS, future]) is not None


@pytest.mark.parametrize("factor", [0.001, 0.000001, 1.5])
def test_f12_times_in_another_unit_take_the_symbol_out(factor: float) -> None:
    def moved(bar: Bar) -> Bar:
        moment = dt.datetime.fromtimestamp(bar.at.timestamp() * factor, dt.UTC)
        return dataclasses.replace(bar, at=moment)

    assert excluded([moved(bar) for bar in BARS]) is not None
    assert excluded([*BARS[:-1], moved(BARS[-1])]) is not None
