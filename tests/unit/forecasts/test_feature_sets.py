"""Sets of features by name, and the one that needs TA-Lib."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigError
from forecasts.bar_features import BAR_FEATURES, LONGEST_WINDOW, WARM_UP_BARS
from forecasts.features import (
    TECHNICAL_FEATURES,
    FeatureSet,
    columns_of,
    computable,
    contexts_of,
    feature_set_of,
    features,
)
from forecasts.local import LocalForecaster
from forecasts.model_store import ModelStore
from forecasts.remote import RemoteForecaster
from tests.support.forecast_scene import made_up_bars
from transport.http import BoundedClient, HttpSettings

BARS = made_up_bars("AAPL", 260)
COLUMNS = columns_of(BARS)


def test_a_set_is_found_by_the_names_of_its_features() -> None:
    for one in FeatureSet:
        assert feature_set_of(list(one.names)) is one
    assert feature_set_of(BAR_FEATURES[:-1]) is None
    assert feature_set_of((*FeatureSet.TECHNICAL.names, "sentiment")) is None
    assert [one.value for one in FeatureSet] == ["bars", "bars+technical"]


def test_a_set_starts_with_the_features_of_bars() -> None:
    for one in FeatureSet:
        assert one.names[: len(BAR_FEATURES)] == BAR_FEATURES
        assert len(set(one.names)) == len(one.names)


def without_talib(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "talib" else found(name)
    )


def test_without_talib_its_set_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_talib(monkeypatch)

    assert computable(BAR_FEATURES, needed_by="model lstm/1") is FeatureSet.BARS
    with pytest.raises(ConfigError, match=r"model lstm/7 needs .* install openbell\[technical\]"):
        computable(FeatureSet.TECHNICAL.names, needed_by="model lstm/7")


def test_both_engines_refuse_a_model_whose_features_cannot_be_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_talib(monkeypatch)
    stored = ModelStore().load("lstm")
    card = dataclasses.replace(stored.card, features=FeatureSet.TECHNICAL.names)
    client = BoundedClient(HttpSettings(base_url="http://127.0.0.1:9"), {})

    with pytest.raises(ConfigError, match="model lstm/1 needs technical indicators"):
        LocalForecaster(dataclasses.replace(stored, card=card), horizon=20)
    with pytest.raises(ConfigError, match="model lstm/1 needs technical indicators"):
        RemoteForecaster(client, model="lstm", card=card, horizon=20)
    stranger = dataclasses.replace(card, features=("mood",))
    with pytest.raises(ConfigError, match="features that this version does not know"):
        RemoteForecaster(client, model="lstm", card=stranger, horizon=20)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return features(COLUMNS, FeatureSet.TECHNICAL)


def test_indicators_stand_behind_the_features_of_bars(table: np.ndarray) -> None:
    assert table.shape == (260, 20 + len(TECHNICAL_FEATURES))
    assert np.isnan(table[:LONGEST_WINDOW]).all()
    assert np.isfinite(table[LONGEST_WINDOW:]).all()
    assert np.array_equal(table[:, :20], features(COLUMNS), equal_nan=True)
    assert (table[LONGEST_WINDOW:, 20:].std(axis=0) > 0.01).all()


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(WARM_UP_BARS, 259), seed=st.integers(0, 2**32 - 1))
def test_neither_removing_nor_altering_the_future_changes_an_indicator(
    cut: int, seed: int, table: np.ndarray
) -> None:
    factors = np.ones(260)
    factors[cut:] = np.random.default_rng(seed).uniform(0.2, 5.0, 260 - cut)
    altered = dataclasses.replace(
        COLUMNS,
        close=COLUMNS.close * factors,
        high=COLUMNS.high * factors,
        low=COLUMNS.low * factors,
        volume=COLUMNS.volume * factors,
    )

    assert np.array_equal(
        features(columns_of(BARS[:cut]), FeatureSet.TECHNICAL), table[:cut], equal_nan=True
    )
    changed = features(altered, FeatureSet.TECHNICAL)
    assert np.array_equal(changed[:cut], table[:cut], equal_nan=True)
    assert not np.array_equal(changed[cut, 20:], table[cut, 20:])


@settings(max_examples=15, deadline=None)
@given(end=st.integers(180, 260))
def test_an_indicator_has_the_same_bits_from_a_short_history(end: int, table: np.ndarray) -> None:
    other = columns_of(made_up_bars("KO", 200))

    context = contexts_of([other, columns_of(BARS[end - 180 : end])], 60, FeatureSet.TECHNICAL)[1]

    assert np.array_equal(context, table[end - 60 : end])


def test_closes_alone_leave_the_indicators_of_ranges_at_zero() -> None:
    bare = columns_of(made_up_bars("KO", 200, has_range=False))

    found = features(bare, FeatureSet.TECHNICAL)[LONGEST_WINDOW:, 20:]

    for name, column in zip(TECHNICAL_FEATURES, found.T, strict=True):
        assert column.any() == (name in {"rsi_14", "macd_histogram", "bollinger_20"})


def test_an_indicator_is_the_one_of_its_name(table: np.ndarray) -> None:
    level = np.log(COLUMNS.close[-WARM_UP_BARS:])
    rsi = talib.RSI(level, 14)[-1]

    assert table[-1, 20] == pytest.approx(rsi / 50 - 1, abs=1e-6)
    mean, deviation = level[-20:].mean(), level[-20:].std()
    place = (level[-1] - mean) / (2 * deviation)
    assert table[-1, 22] == pytest.approx(place, abs=1e-4)


def test_a_stock_that_does_not_move_has_finite_indicators() -> None:
    flat = dataclasses.replace(
        COLUMNS,
        close=np.full(260, 10.0),
        high=np.full(260, 10.0),
        low=np.full(260, 10.0),
        volume=np.zeros(260),
    )

    assert np.isfinite(features(flat, FeatureSet.TECHNICAL)[LONGEST_WINDOW:]).all()


def test_talib_is_not_loaded_for_the_features_of_bars() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from forecasts.features import *;"
        "from forecasts import features as f;"
        "day = np.arange('2022-01-03', '2022-08-01', dtype='datetime64[D]');"
        "f.features(f.closes_only(day, np.linspace(10, 20, day.size)));"
        "print('talib' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
