import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from domain.clock import ManualClock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from marketdata.fetch import Fetched, fetch
from marketdata.session_calendar import day_start, prices_move_from
from marketdata.store import BarStore
from marketdata.stored import StoredBars
from tests.support.bars import CALENDAR, EVENING, MadeSource, made_series

AA, BB = Symbol("AA"), Symbol("BB")
START, END = dt.date(2022, 10, 3), dt.date(2022, 12, 14)
NEXT_DAY = dt.timedelta(days=1)


def setting(tmp_path: Path) -> tuple[MadeSource, ManualClock, StoredBars]:
    vendor = MadeSource(made_series(AA, START, END), made_series(BB, START, END, first=50))
    clock = ManualClock(EVENING)
    store = BarStore(tmp_path)
    return vendor, clock, StoredBars(store, vendor, clock=clock, calendar=CALENDAR)


async def test_the_vendor_is_asked_once_for_the_same_bars(tmp_path: Path) -> None:
    vendor, _, source = setting(tmp_path)

    first = await source.daily_bars([AA, BB], START, END)
    second = await source.daily_bars([BB, AA], START, END)

    assert first == second
    assert [bar.close for bar in first[BB]] == [bar.close for bar in vendor.bars[BB]]
    assert vendor.asked == [((AA, BB), START, END)]


async def test_only_the_missing_days_and_an_overlap_are_asked_for(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    await source.daily_bars([AA], START, END)
    vendor.bars[AA] = made_series(AA, START, END + NEXT_DAY)

    clock.advance(NEXT_DAY)
    bars = await source.daily_bars([AA], START, END + NEXT_DAY)

    assert vendor.asked[1] == ((AA,), dt.date(2022, 12, 4), END + NEXT_DAY)
    assert list(bars[AA]) == vendor.bars[AA]


async def test_an_earlier_start_is_asked_for_from_there(tmp_path: Path) -> None:
    vendor, _, source = setting(tmp_path)
    await source.daily_bars([AA], dt.date(2022, 11, 1), END)

    bars = await source.daily_bars([AA], START, END)

    assert vendor.asked[1] == ((AA,), START, END)
    assert list(bars[AA]) == vendor.bars[AA]


async def test_a_young_company_is_not_asked_for_again_and_again(tmp_path: Path) -> None:
    vendor, _, source = setting(tmp_path)
    vendor.bars[AA] = vendor.bars[AA][20:]

    await source.daily_bars([AA], START, END)
    await source.daily_bars([AA], START, END)

    assert len(vendor.asked) == 1


async def test_g14_a_restated_past_is_fetched_anew_rather_than_joined(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    await source.daily_bars([AA], START, END)
    halved = [
        dataclasses.replace(bar, open=None, high=None, low=None, close=bar.close / 2)
        for bar in made_series(AA, START, END + NEXT_DAY)
    ]
    vendor.bars[AA] = halved

    clock.advance(NEXT_DAY)
    bars = await source.daily_bars([AA], START, END + NEXT_DAY)

    assert list(bars[AA]) == halved
    assert source.shortfalls == ("made restated the past of AA; fetched anew",)
    assert [asked[1] for asked in vendor.asked] == [START, dt.date(2022, 12, 4), START]
    assert list((await source.daily_bars([AA], START, END + NEXT_DAY))[AA]) == halved
    assert len(vendor.asked) == 3


async def test_a_close_that_was_read_before_it_had_settled_is_read_again(tmp_path: Path) -> None:
    vendor, _, _ = setting(tmp_path)
    close = CALENDAR.next_session(day_start(END)).close
    clock = ManualClock(close + dt.timedelta(minutes=1))
    source = StoredBars(BarStore(tmp_path), vendor, clock=clock, calendar=CALENDAR)
    settled = vendor.bars[AA]
    early = dataclasses.replace(
        settled[-1], open=None, high=None, low=None, close=settled[-1].close + 1
    )
    vendor.bars[AA] = [*settled[:-1], early]
    await source.daily_bars([AA], START, END)
    vendor.bars[AA] = settled

    clock.advance(dt.timedelta(minutes=10))
    too_early = await source.daily_bars([AA], START, END)
    clock.advance(dt.timedelta(minutes=20))
    bars = await source.daily_bars([AA], START, END)
    await source.daily_bars([AA], START, END)

    assert too_early[AA][-1] == early
    assert list(bars[AA]) == settled
    assert [asked[1] for asked in vendor.asked] == [START, dt.date(2022, 12, 4), START]


async def test_a_split_of_the_morning_reaches_bars_of_the_evening_before(
    tmp_path: Path,
) -> None:
    vendor, clock, source = setting(tmp_path)
    await source.daily_bars([AA], START, END)
    halved = [
        dataclasses.replace(bar, open=None, high=None, low=None, close=bar.close / 2)
        for bar in vendor.bars[AA]
    ]
    vendor.bars[AA] = halved

    clock.advance(prices_move_from(END + NEXT_DAY) + dt.timedelta(hours=4) - EVENING)
    bars = await source.daily_bars([AA], START, END)

    assert list(bars[AA]) == halved


async def test_a_vendor_that_leaves_a_symbol_out_takes_nothing_away(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    before = await source.daily_bars([AA, BB], START, END)
    del vendor.bars[BB]

    clock.advance(dt.timedelta(hours=15))

    assert await source.daily_bars([AA, BB], START, END) == before


async def test_g12_a_silent_vendor_leaves_what_is_stored(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    before = await source.daily_bars([AA], START, END)
    vendor.is_down = True

    clock.advance(NEXT_DAY)

    assert await source.daily_bars([AA, BB], START, END + NEXT_DAY) == before
    assert source.shortfalls[0].startswith("not refreshed: ")


async def test_a_silent_vendor_and_an_empty_store_is_an_unavailable_source(
    tmp_path: Path,
) -> None:
    vendor, _, source = setting(tmp_path)
    vendor.is_down = True

    with pytest.raises(ProviderUnavailable):
        await source.daily_bars([AA], START, END)


async def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    vendor, _, source = setting(tmp_path)
    before = await source.daily_bars([AA], START, END)
    (tmp_path / "AA.npz").write_bytes(b"PK\x03\x04 and then nothing")

    assert await source.daily_bars([AA], START, END) == before
    assert len(vendor.asked) == 2


async def test_bars_of_another_vendor_are_not_continued(tmp_path: Path) -> None:
    _vendor, clock, source = setting(tmp_path)
    await source.daily_bars([AA], START, END)
    other = MadeSource(made_series(AA, START, END, first=200))
    other.name = "other"

    bars = await StoredBars(BarStore(tmp_path), other, clock=clock, calendar=CALENDAR).daily_bars(
        [AA], START, END
    )

    assert bars[AA][0].close == 200


async def test_the_session_under_way_is_not_asked_for(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    clock.advance(-dt.timedelta(hours=2))

    bars = await source.daily_bars([AA], START, END)

    assert vendor.asked == [((AA,), START, END - NEXT_DAY)]
    assert bars[AA][-1].at.date() == END - NEXT_DAY


async def test_a_fetch_reports_every_symbol_and_resumes(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    del vendor.bars[BB][10]
    seen: list[Fetched] = []

    results = await fetch(
        source,
        [BB, AA, Symbol("NONE")],
        START,
        clock=clock,
        calendar=CALENDAR,
        on_progress=seen.extend,
    )

    assert [(one.symbol, one.bars, one.last) for one in results] == [
        (AA, 52, END),
        (BB, 51, END),
        (Symbol("NONE"), 0, None),
    ]
    assert [one.problem for one in results] == [
        "",
        "no bar for 2022-10-17 inside the look-back",
        "no bars",
    ]
    assert seen == list(results)
    await fetch(source, [AA, BB], START, clock=clock, calendar=CALENDAR)
    assert len(vendor.asked) == 1


async def test_a_young_company_has_no_hole_before_its_first_bar(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    vendor.bars[AA] = vendor.bars[AA][20:]

    (result,) = await fetch(source, [AA], START, clock=clock, calendar=CALENDAR)

    assert result.problem == ""


async def test_a_group_that_fails_is_reported_and_the_next_one_tried(tmp_path: Path) -> None:
    vendor, clock, source = setting(tmp_path)
    vendor.is_down = True

    results = await fetch(
        source, [Symbol(f"S{n:02d}") for n in range(30)], START, clock=clock, calendar=CALENDAR
    )

    assert {one.problem for one in results} == {"made: down"}
    assert len(vendor.asked) == 2
