import dataclasses
import datetime as dt

import numpy as np
import pytest

from domain.errors import ProviderUnavailable
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from forecasts.bar_features import SCALE_FEATURE
from forecasts.screening import Batch, Origin, bars_needed, batch_of, forecasts_of
from tests.support.forecast_scene import AS_OF, history_of, made_up_bars

ORIGIN = Origin(
    source=ForecastSource.LOCAL,
    model="lstm/1",
    model_hash="a" * 64,
    levels=(0.1, 0.5, 0.9),
    horizon=2,
)


def batch(count: int = 6) -> Batch:
    found = batch_of(history_of(*(f"S{chr(65 + number)}" for number in range(count))), AS_OF, 60)
    assert found is not None
    return found


def quantiles(count: int = 6) -> np.ndarray:
    base = np.array([-0.02, 0.001, 0.03], dtype=np.float32)
    rise = 0.0005 * np.arange(count, dtype=np.float32)[:, None, None]
    return np.tile(base, (count, 3, 1)) + rise


def test_symbols_are_sorted_and_short_histories_left_out() -> None:
    history = history_of("ZZZ", "AAA") | {Symbol("NEW"): made_up_bars("NEW", bars_needed(60) - 1)}

    found = batch_of(history, AS_OF, 60)

    assert found is not None
    assert found.symbols == ("AAA", "ZZZ")
    assert found.contexts.shape == (2, 60, 20)
    assert found.data_cutoff == dt.date(2022, 11, 9)


def test_bars_out_of_order_leave_their_symbol_out() -> None:
    bars = made_up_bars("AAA", 200)
    mixed = (*bars[:-3], bars[-2], bars[-3], bars[-1])

    assert batch_of({Symbol("AAA"): mixed}, AS_OF, 60) is None


def test_no_history_is_no_batch() -> None:
    assert batch_of({}, AS_OF, 60) is None


def test_the_asked_step_is_the_forecast() -> None:
    rows = quantiles()
    rows[:, 1] *= 2

    found = forecasts_of(batch(), rows, ORIGIN, AS_OF)

    assert found[Symbol("SA")].quantiles == pytest.approx((-0.04, 0.002, 0.06))
    assert found[Symbol("SA")].data_cutoff == dt.date(2022, 11, 9)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (quantiles()[:5], "wrong shape"),
        (quantiles()[:, :, :2], "wrong shape"),
        (quantiles()[0], "wrong shape"),
        (quantiles()[:, :1], "forecasts 1 sessions"),
        (quantiles() * 50, "6 of 6 symbols with impossible numbers"),
        (np.zeros((6, 3, 3), dtype=np.float32), "impossible numbers"),
        (np.repeat(quantiles()[:1], 6, axis=0), "answered every symbol alike"),
    ],
)
def test_h05_an_answer_that_cannot_be_trusted_is_refused_whole(
    rows: np.ndarray, words: str
) -> None:
    with pytest.raises(ProviderUnavailable, match=words):
        forecasts_of(batch(), rows, ORIGIN, AS_OF)


@pytest.mark.parametrize("shift", [0.0, 0.25, 1.0])
def test_h05_a_network_that_tells_nobody_apart_is_refused_though_volatilities_differ(
    shift: float,
) -> None:
    # What our networks answer when all of their weights are zero, or saturated.
    asked = batch()
    unit = np.exp(asked.contexts[:, -1, SCALE_FEATURE]) * np.sqrt(2)
    rows = np.array([shift - 1.3, shift, shift + 1.3], dtype=np.float32) * unit[:, None]
    assert np.ptp(rows, axis=0).max() > 0.001

    with pytest.raises(ProviderUnavailable, match="alike but for its volatility; it is dead"):
        forecasts_of(asked, np.repeat(rows[:, None], 3, axis=1), ORIGIN, AS_OF)


def test_that_every_symbol_leans_one_way_is_no_sign_of_a_dead_model() -> None:
    assert all(row.mean > 0 for row in forecasts_of(batch(), quantiles(), ORIGIN, AS_OF).values())


def test_the_plausible_band_follows_each_symbols_volatility() -> None:
    calm = batch_of({Symbol("SA"): made_up_bars("SA", 200, daily_volatility=0.001)}, AS_OF, 60)
    wild = batch_of({Symbol("SA"): made_up_bars("SA", 200, daily_volatility=0.03)}, AS_OF, 60)
    assert calm is not None
    assert wild is not None
    rows = np.tile(np.array([-0.2, 0.0, 0.2], dtype=np.float32), (1, 3, 1))

    assert len(forecasts_of(wild, rows, ORIGIN, AS_OF)) == 1
    with pytest.raises(ProviderUnavailable, match="impossible numbers"):
        forecasts_of(calm, rows, ORIGIN, AS_OF)


def test_four_symbols_alike_may_be_chance() -> None:
    rows = np.repeat(quantiles()[:1], 4, axis=0)

    assert len(forecasts_of(batch(4), rows, ORIGIN, AS_OF)) == 4


def test_h13_the_last_bits_of_another_processor_change_nothing() -> None:
    rows = np.round(quantiles(), 6)
    elsewhere = rows * np.float32(1 + 3e-7)

    assert not np.array_equal(rows, elsewhere)
    assert forecasts_of(batch(), rows, ORIGIN, AS_OF) == forecasts_of(
        batch(), elsewhere, ORIGIN, AS_OF
    )


def test_a_forecast_names_its_origin() -> None:
    remote = dataclasses.replace(ORIGIN, source=ForecastSource.REMOTE)

    found = forecasts_of(batch(), quantiles(), remote, AS_OF)

    assert {one.source for one in found.values()} == {ForecastSource.REMOTE}
    assert {one.model_hash for one in found.values()} == {"a" * 64}
