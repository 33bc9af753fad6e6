import datetime as dt
from pathlib import Path

import pytest

from domain.errors import DataError
from domain.ids import Symbol
from marketdata.event_files import FileEvents
from marketdata.events import EventKind

AA, BB = Symbol("AA"), Symbol("BB")
START, END = dt.date(2022, 12, 1), dt.date(2022, 12, 31)


async def read(tmp_path: Path, text: str) -> list[tuple[str, int, EventKind]]:
    path = tmp_path / "events.csv"
    path.write_text(text, encoding="utf-8")
    events = await FileEvents(path).events([AA, BB], START, END)
    return [(event.symbol, event.date.day, event.kind) for event in events]


async def test_events_of_the_wanted_symbols_and_dates_come_oldest_first(tmp_path: Path) -> None:
    text = (
        "Date,Symbol,Kind\n2022-12-20,AA,earnings\n2022-12-14,BB,Split\n"
        "2022-12-14,CC,earnings\n2023-01-02,AA,earnings\n2022-11-30,AA,earnings\n"
    )

    assert await read(tmp_path, text) == [
        ("BB", 14, EventKind.SPLIT),
        ("AA", 20, EventKind.EARNINGS),
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "needs the column symbol"),
        ("symbol,date\nAA,2022-12-14\n", "needs the column kind"),
        ("symbol,date,kind\nAA,14.12.2022,earnings\n", "line 2"),
        ("symbol,date,kind\nAA,2022-12-14,party\n", "kinds are split"),
        ("symbol,date,kind\naa,2022-12-14,split\n", "not a symbol"),
        ("symbol,date,kind\nAA,2022-12-14\n", "line 2"),
    ],
)
async def test_a_line_that_is_not_understood_is_named(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(DataError, match=hint):
        await read(tmp_path, text)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        await FileEvents(tmp_path / "none.csv").events([AA], START, END)
