import dataclasses
import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import DataError
from forecasts.training.order_book import (
    BOOK_FEATURES,
    LONGEST_WINDOW,
    BookSnapshot,
    append_csv,
    book_features,
    read_csv,
    synthetic_book,
)
from forecasts.training.order_book_experiment import run_experiment

START = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)
BOOK = synthetic_book(400, seed=1, start=START)


def test_the_same_seed_makes_up_the_same_market() -> None:
    assert synthetic_book(400, seed=1, start=START) == BOOK
    assert synthetic_book(400, seed=2, start=START) != BOOK


def test_snapshots_survive_the_csv_they_are_collected_in(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    append_csv(path, BOOK[:100])
    append_csv(path, BOOK[100:])

    assert read_csv(path) == BOOK


def test_a_csv_with_a_bad_line_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    append_csv(path, BOOK[:3])
    path.write_text(path.read_text() + "2025-01-07T00:00:00+00:00,x,1,1,1\n")

    with pytest.raises(DataError, match=r"book\.csv: a line is not an order-book snapshot"):
        read_csv(path)


def test_a_csv_whose_times_do_not_rise_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    append_csv(path, (BOOK[1], BOOK[0]))

    with pytest.raises(DataError, match="times do not rise"):
        read_csv(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bid", 0.0), ("bid", 9.0), ("ask", math.inf), ("bid_volume", -1.0), ("ask", math.nan)],
)
def test_a_book_that_cannot_be_is_refused(name: str, value: float) -> None:
    wrong: dict[str, Any] = {name: value}

    with pytest.raises(DataError):
        dataclasses.replace(BOOK[0], **wrong)


def test_features_of_a_book_do_not_look_ahead() -> None:
    whole = book_features(BOOK)
    changed = [*BOOK[:300], *(turned(one) for one in BOOK[300:])]

    assert whole.shape == (400 - LONGEST_WINDOW, len(BOOK_FEATURES))
    assert np.isfinite(whole).all()
    for other in (book_features(BOOK[:300]), book_features(changed)):
        np.testing.assert_array_equal(other[: 300 - LONGEST_WINDOW], whole[: 300 - LONGEST_WINDOW])


def turned(one: BookSnapshot) -> BookSnapshot:
    return dataclasses.replace(one, bid=one.bid * 3, ask=one.ask * 3, bid_volume=one.ask_volume)


def test_the_three_networks_have_their_known_sizes_and_stand_beside_the_last_price() -> None:
    scores = {one.name: one for one in run_experiment(BOOK, seed=1, max_epochs=1)}

    assert {name: one.parameters for name, one in scores.items()} == {
        "last price": 0,
        "RNN": 13_889,
        "GRU": 41_537,
        "LSTM": 55_361,
    }
    assert scores["last price"].r2_price > 0.8
    assert scores["last price"].r2_change == pytest.approx(0, abs=0.2)
    assert all(one.mape_pct < 5 for one in scores.values())


def test_too_short_a_book_is_a_sentence() -> None:
    with pytest.raises(DataError, match="too few; collect some hundreds"):
        run_experiment(BOOK[:30], seed=1, max_epochs=1)
