import datetime as dt

import pytest

from domain.clock import UTC, ManualClock
from domain.ids import Symbol
from marketdata.sample import SampleBars
from marketdata.session_calendar import NyseCalendar

WANTED = [Symbol("MSFT"), Symbol("AAPL"), Symbol("NOPE")]
FIRST = dt.date(2022, 12, 12)
LAST = dt.date(2022, 12, 14)


def source(moment: dt.datetime) -> SampleBars:
    return SampleBars(clock=ManualClock(moment), calendar=NyseCalendar())


async def test_bars_come_by_symbol_oldest_first_without_the_unknown() -> None:
    bars = await source(dt.datetime(2022, 12, 15, 13, tzinfo=UTC)).daily_bars(WANTED, FIRST, LAST)

    assert list(bars) == ["AAPL", "MSFT"]
    assert [bar.at.date() for bar in bars[Symbol("AAPL")]] == [
        dt.date(2022, 12, 12),
        dt.date(2022, 12, 13),
        dt.date(2022, 12, 14),
    ]


@pytest.mark.parametrize(
    ("moment", "newest"),
    [
        (dt.datetime(2022, 12, 14, 13, 0, tzinfo=UTC), 13),  # before the open
        (dt.datetime(2022, 12, 14, 20, 59, tzinfo=UTC), 13),  # a minute before the close
        (dt.datetime(2022, 12, 14, 21, 0, tzinfo=UTC), 14),  # at the close
        (dt.datetime(2022, 12, 15, 2, 0, tzinfo=UTC), 14),  # evening in New York
    ],
)
async def test_no_session_is_shown_before_it_is_over(moment: dt.datetime, newest: int) -> None:
    bars = await source(moment).daily_bars(WANTED, FIRST, dt.date(2023, 6, 1))

    assert bars[Symbol("AAPL")][-1].at.date() == dt.date(2022, 12, newest)


async def test_a_span_without_records_gives_nothing() -> None:
    moment = dt.datetime(2022, 12, 15, 13, tzinfo=UTC)

    assert await source(moment).daily_bars(WANTED, LAST, FIRST) == {}
