import datetime as dt
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DataError, StorageError
from domain.ids import Symbol
from domain.market import Bar
from marketdata.session_calendar import day_start
from marketdata.store import BarStore, Provenance
from tests.support.bars import CALENDAR, EVENING, made_bar, made_series

ACME = Symbol("BRK.B")
START, END = dt.date(2022, 11, 1), dt.date(2022, 12, 14)
ABOUT = Provenance(source="made", adjustment="split", fetched_at=EVENING, asked_from=START)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    store = BarStore(tmp_path / "bars")
    bars = made_series(ACME, START, END)

    store.write(ACME, bars, ABOUT)

    series = store.read(ACME)
    assert series is not None
    assert series.bars == tuple(bars)
    assert series.provenance == ABOUT
    assert store.symbols() == (ACME,)


@given(close=st.floats(0.0001, 1e7), volume=st.floats(0, 1e12))
def test_prices_stay_exact_and_absent_ones_absent(
    tmp_path_factory: pytest.TempPathFactory, close: float, volume: float
) -> None:
    store = BarStore(tmp_path_factory.mktemp("bars"))
    bars = [
        Bar(symbol=ACME, at=day_start(START), close=close),
        Bar(symbol=ACME, at=day_start(END), close=close, volume=volume),
    ]

    store.write(ACME, bars, ABOUT)

    series = store.read(ACME)
    assert series is not None
    assert series.bars == tuple(bars)


def test_nothing_stored_is_none(tmp_path: Path) -> None:
    assert BarStore(tmp_path / "none").read(ACME) is None
    assert BarStore(tmp_path / "none").symbols() == ()


def test_a_name_that_is_no_symbol_reaches_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a symbol"):
        BarStore(tmp_path).read(Symbol("../../etc/passwd"))


def test_gaps_are_the_sessions_without_a_bar(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    bars = made_series(ACME, START, END)
    missing = bars.pop(7)

    store.write(ACME, bars, ABOUT)

    series = store.read(ACME)
    assert series is not None
    assert series.gaps(CALENDAR.sessions(START, END)) == (missing.at.date(),)


@pytest.mark.parametrize("cut", [0, 1, 100, 1000])
def test_a_cut_file_is_named_with_the_next_step(tmp_path: Path, cut: int) -> None:
    store = BarStore(tmp_path)
    store.write(ACME, made_series(ACME, START, END), ABOUT)
    path = tmp_path / "BRK.B.npz"
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(DataError, match=r"BRK\.B\.npz is damaged .* fetch again"):
        store.read(ACME)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("exit 1",)

    trap = np.array([Trap()], dtype=object)
    np.savez(tmp_path / "BRK.B.npz", about=trap, at=trap, allow_pickle=True)

    with pytest.raises(DataError, match="damaged"):
        BarStore(tmp_path).read(ACME)


def test_a_write_that_fails_leaves_the_old_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BarStore(tmp_path)
    old = made_series(ACME, START, END)
    store.write(ACME, old, ABOUT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="make room"):
        store.write(ACME, [made_bar(ACME, END, 7)], ABOUT)

    series = store.read(ACME)
    assert series is not None
    assert series.bars == tuple(old)
    assert [path.name for path in tmp_path.iterdir()] == ["BRK.B.npz"]


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "BRK.B.npz").mkdir()

    with pytest.raises(DataError, match="check its permissions"):
        BarStore(tmp_path).read(ACME)
