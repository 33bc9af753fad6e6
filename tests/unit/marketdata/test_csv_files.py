import datetime as dt
from pathlib import Path

import pytest

from domain.clock import ManualClock
from domain.errors import DataError
from domain.ids import Symbol
from marketdata.csv_files import FileBars
from tests.support.bars import CALENDAR, EVENING

ACME = Symbol("ACME")
START, END = dt.date(2022, 12, 12), dt.date(2022, 12, 16)


def source(directory: Path) -> FileBars:
    return FileBars(directory, clock=ManualClock(EVENING), calendar=CALENDAR)


async def closes(directory: Path, text: str) -> list[float]:
    (directory / "ACME.csv").write_text(text, encoding="utf-8")
    bars = await source(directory).daily_bars([ACME], START, END)
    return [bar.close for bar in bars.get(ACME, ())]


async def test_columns_may_come_in_any_order_and_case(tmp_path: Path) -> None:
    text = " Close ,LOW,High,Open,Volume,Date\n10,9,11,9.5,100,2022-12-13\n"

    assert await closes(tmp_path, text) == [10]
    bars = await source(tmp_path).daily_bars([ACME], START, END)
    assert bars[ACME][0].has_range


async def test_date_and_close_are_enough(tmp_path: Path) -> None:
    assert await closes(tmp_path, "date,close\n2022-12-13,143.21\n") == [143.21]


async def test_lines_may_be_unsorted_and_twice_the_same(tmp_path: Path) -> None:
    text = "date,close\n2022-12-14,3\n2022-12-12,1\n2022-12-13,2\n2022-12-12,1\n"

    assert await closes(tmp_path, text) == [1, 2, 3]


async def test_moments_with_a_zone_belong_to_their_new_york_session(tmp_path: Path) -> None:
    text = "timestamp,close\n2022-12-13T21:00:00Z,1\n2022-12-14T00:00:00-05:00,2\n"

    assert await closes(tmp_path, text) == [1, 2]


async def test_a_session_that_is_not_over_is_not_shown(tmp_path: Path) -> None:
    assert await closes(tmp_path, "date,close\n2022-12-14,1\n2022-12-15,2\n") == [1]


async def test_a_symbol_without_file_is_absent(tmp_path: Path) -> None:
    assert await source(tmp_path).daily_bars([ACME], START, END) == {}


async def test_an_impossible_bar_leaves_a_hole(tmp_path: Path) -> None:
    text = "date,close,high,low\n2022-12-12,1,2,1\n2022-12-13,5,4,3\n2022-12-14,2,2,1\n"

    assert await closes(tmp_path, text) == [1, 2]


@pytest.mark.parametrize("word", ["nan", "inf", "-1", "0"])
async def test_a_price_that_is_none_leaves_a_hole(tmp_path: Path, word: str) -> None:
    assert await closes(tmp_path, f"date,close\n2022-12-12,{word}\n2022-12-13,2\n") == [2]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "needs the columns date and close"),
        ("day,close\n2022-12-13,1\n", "it has day, close"),
        ("date,price\n2022-12-13,1\n", "needs the columns"),
        ("date,close,close\n2022-12-13,1,2\n", "column close twice"),
        ("date,close\n13.12.2022,1\n", "line 2"),
        ("date,close\n2022-12-12,1\n2022-12-13,ten\n", "line 3"),
        ("date,close\n2022-12-13,\n", "no close"),
        ("date,close\n2022-12-13T10:00:00,1\n", "no zone"),
    ],
)
async def test_a_file_that_is_not_understood_is_named_with_the_line(
    tmp_path: Path, text: str, hint: str
) -> None:
    with pytest.raises(DataError, match=rf"ACME\.csv.*{hint}"):
        await closes(tmp_path, text)


async def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ACME.csv").write_bytes(b"date,close\n\xff\xfe\n")

    with pytest.raises(DataError, match="cannot be read as CSV"):
        await source(tmp_path).daily_bars([ACME], START, END)


async def test_a_missing_directory_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"marketdata\.csv\.directory"):
        await source(tmp_path / "none").daily_bars([ACME], START, END)


async def test_a_parquet_file_is_read_or_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "ACME.parquet").write_bytes(b"PAR1")

    with pytest.raises(DataError, match=r"ACME\.parquet (needs pyarrow|cannot be read)"):
        await source(tmp_path).daily_bars([ACME], START, END)
