import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import DataError
from forecasts.bar_features import BAR_FEATURES, LONGEST_WINDOW
from forecasts.features import BarColumns, columns_of, contexts_of, features, volatility
from tests.support.forecast_scene import made_up_bars

BARS = made_up_bars("AAPL", 400)
COLUMNS = columns_of(BARS)
TABLE = features(COLUMNS)
KNOWN = TABLE[LONGEST_WINDOW:]


def column(name: str) -> np.ndarray:
    return TABLE[:, BAR_FEATURES.index(name)]


def altered(columns: BarColumns, cut: int, factors: np.ndarray) -> BarColumns:
    """Another future: everything after bar ``cut`` - 1 is multiplied."""
    scale = np.ones(columns.close.size)
    scale[cut:] = factors[: columns.close.size - cut]
    return dataclasses.replace(
        columns,
        close=columns.close * scale,
        high=columns.high * scale,
        low=columns.low * scale,
        volume=columns.volume * scale,
    )


def test_there_are_twenty_features_with_names_of_their_own() -> None:
    assert len(BAR_FEATURES) == len(set(BAR_FEATURES)) == TABLE.shape[1] == 20


def test_rows_are_unknown_until_their_longest_window_is_full() -> None:
    assert np.isnan(TABLE[:LONGEST_WINDOW]).all()
    assert np.isfinite(KNOWN).all()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 399))
def test_removing_the_future_changes_no_value(cut: int) -> None:
    past = columns_of(BARS[:cut])

    assert np.array_equal(features(past), TABLE[:cut], equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 399), seed=st.integers(0, 2**32 - 1))
def test_altering_the_future_changes_no_value_before_it(cut: int, seed: int) -> None:
    factors = np.random.default_rng(seed).uniform(0.2, 5.0, 400)

    changed = features(altered(COLUMNS, cut, factors))

    assert np.array_equal(changed[:cut], TABLE[:cut], equal_nan=True)
    if cut >= LONGEST_WINDOW:
        assert not np.array_equal(changed[cut], TABLE[cut])


@settings(max_examples=40, deadline=None)
@given(end=st.integers(181, 400))
def test_a_short_history_gives_the_same_bits_as_a_long_one(end: int) -> None:
    (context,) = contexts_of([columns_of(BARS[end - 180 : end])], 60)

    assert np.array_equal(context, TABLE[end - 60 : end])


def test_a_symbol_has_the_same_bits_in_any_company() -> None:
    names = [f"S{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(70)]
    columns = [columns_of(made_up_bars(name, 200 + i)) for i, name in enumerate(names)]
    columns[3] = columns_of(made_up_bars("BARE", 200, has_range=False))

    together = contexts_of(columns, 60)

    for one, context in zip(columns, together, strict=True):
        assert np.array_equal(features(one)[-60:], context)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(180, 399), seed=st.integers(0, 2**32 - 1))
def test_the_future_of_others_changes_no_context(cut: int, seed: int) -> None:
    factors = np.random.default_rng(seed).uniform(0.2, 5.0, 400)
    past = columns_of(BARS[:cut])

    for other in (COLUMNS, altered(COLUMNS, cut, factors)):
        assert np.array_equal(contexts_of([other, past], 60)[1], TABLE[cut - 60 : cut])


@settings(max_examples=30, deadline=None)
@given(factor=st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_the_unit_of_prices_does_not_matter(factor: float) -> None:
    scaled = features(altered(COLUMNS, 0, np.full(400, factor)))

    np.testing.assert_allclose(scaled[LONGEST_WINDOW:], KNOWN, atol=2e-5)


def test_a_context_needs_its_warm_up() -> None:
    with pytest.raises(DataError, match="fewer than the 180 bars"):
        contexts_of([COLUMNS, columns_of(BARS[:179])], 60)


def test_closes_alone_leave_range_and_volume_at_zero() -> None:
    bars = made_up_bars("KO", 200, has_range=False)

    table = features(columns_of(bars))[LONGEST_WINDOW:]

    for name in ("range_ratio_5", "volume_ratio_5", "volume_imbalance_5"):
        assert not table[:, BAR_FEATURES.index(name)].any()
    assert np.isfinite(table).all()


def test_closes_give_the_same_price_features_with_and_without_range() -> None:
    bare = made_up_bars("AAPL", 400, has_range=False)

    table = features(columns_of(bare))

    priced = [i for i, name in enumerate(BAR_FEATURES) if not name.startswith(("range", "volume"))]
    assert np.array_equal(table[:, priced], TABLE[:, priced], equal_nan=True)


def test_momentum_is_the_return_in_units_of_its_volatility() -> None:
    daily = volatility(COLUMNS)
    expected = np.log(COLUMNS.close[-1] / COLUMNS.close[-13]) / (daily[-1] * np.sqrt(12))

    assert column("momentum_12")[-1] == pytest.approx(expected, rel=1e-5)


def test_volatility_is_the_root_mean_square_of_twenty_returns() -> None:
    returns = np.diff(np.log(COLUMNS.close))[-20:]

    assert volatility(COLUMNS)[-1] == pytest.approx(np.sqrt(np.mean(returns**2)))
    assert column("volatility_20")[-1] == pytest.approx(np.log(volatility(COLUMNS)[-1]), rel=1e-6)


def test_weekdays_lie_on_a_circle_of_five() -> None:
    monday = next(i for i in range(200, 400) if BARS[i].at.weekday() == 0)

    assert column("weekday_sine")[monday] == pytest.approx(0, abs=1e-6)
    assert column("weekday_cosine")[monday] == pytest.approx(1)
    assert column("weekday_cosine")[monday + 1] == pytest.approx(np.cos(2 * np.pi / 5))


def test_a_stock_that_does_not_move_has_finite_features() -> None:
    flat = dataclasses.replace(
        COLUMNS,
        close=np.full(400, 10.0),
        high=np.full(400, 10.0),
        low=np.full(400, 10.0),
        volume=np.zeros(400),
    )

    assert np.isfinite(features(flat)[LONGEST_WINDOW:]).all()


def test_bars_out_of_order_are_refused() -> None:
    with pytest.raises(DataError, match="rising order"):
        columns_of(BARS[::-1])


def test_a_close_that_is_not_above_zero_is_refused() -> None:
    with pytest.raises(DataError, match="not above 0"):
        dataclasses.replace(COLUMNS, close=np.zeros(400))


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="lengths"):
        dataclasses.replace(COLUMNS, close=COLUMNS.close[1:])
