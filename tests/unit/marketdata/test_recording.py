import datetime as dt
import importlib.metadata
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import DataError
from domain.ids import Symbol
from marketdata import recording as module
from marketdata.recording import recording

AAPL = Symbol("AAPL")
JPM = Symbol("JPM")
DAY = dt.date(2022, 12, 14)


def test_twenty_five_symbols_are_recorded_six_with_ranges() -> None:
    coverage = recording().coverage()

    ranged = sorted(s for s, one in coverage.items() if one.has_range)
    assert len(coverage) == 25
    assert ranged == ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]
    assert recording().symbols == tuple(sorted(coverage))


def test_coverage_names_span_and_adjustment() -> None:
    coverage = recording().coverage()

    assert (coverage[AAPL].first, coverage[AAPL].last) == (
        dt.date(2013, 1, 2),
        dt.date(2023, 9, 21),
    )
    assert (coverage[JPM].first, coverage[JPM].last) == (
        dt.date(1990, 1, 2),
        dt.date(2022, 12, 28),
    )
    assert coverage[AAPL].adjustment == "split"
    assert coverage[JPM].adjustment == "split and dividend"
    assert coverage[AAPL].sessions == 2699


def test_prices_read_as_they_were_quoted_on_the_day() -> None:
    (bar,) = recording().bars(AAPL, DAY, DAY)

    assert (bar.open, bar.high, bar.low, bar.close) == (145.35, 146.66, 141.16, 143.21)
    assert bar.volume == 82291200
    assert bar.at == dt.datetime(2022, 12, 14, 5, tzinfo=dt.UTC)


def test_a_symbol_with_closes_only_has_no_range() -> None:
    (bar,) = recording().bars(JPM, DAY, DAY)

    assert bar.close > 100
    assert (bar.open, bar.high, bar.low, bar.volume) == (None, None, None, None)


def test_a_symbol_in_both_sets_is_not_joined_across_two_adjustments() -> None:
    assert recording().bars(AAPL, dt.date(1990, 1, 1), dt.date(2012, 12, 31)) == ()


def test_every_recorded_bar_can_be_built() -> None:
    count = 0
    for symbol in recording().symbols:
        bars = recording().bars(symbol, dt.date.min, dt.date.max)
        count += len(bars)
        assert all(a.at < b.at for a, b in itertools.pairwise(bars))

    assert count == 6 * 2699 + 19 * 8313


def test_reading_leaves_the_packages_themselves_unimported() -> None:
    code = (
        "import sys\n"
        "from marketdata.recording import recording\n"
        "recording()\n"
        "print([m for m in ('pytimetk', 'skfolio', 'pandas', 'numpy') if m in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"


def test_a_missing_package_is_named_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", nothing)

    with pytest.raises(DataError, match=r"package skfolio .* `make demo`"):
        module.recording.__wrapped__()


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged:
        def locate_file(self, inside: str) -> Path:
            return tmp_path / inside

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Damaged())

    with pytest.raises(DataError, match=r"sp500_dataset\.csv\.gz of package skfolio"):
        module.recording.__wrapped__()
