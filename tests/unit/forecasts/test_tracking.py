import dataclasses
import datetime as dt
import math

import numpy as np
import pytest

from domain.errors import StateError
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from domain.track_record import LockedForecast, Standing
from forecasts.drift import DriftRule, DriftSettings, check, complaint
from forecasts.scorecard import (
    Scores,
    by_confidence,
    by_model,
    by_source,
    by_symbol,
    grouped,
    scores_of,
    student,
)
from forecasts.tracking import lock, score, verify_answer, verify_chain
from tests.support.forecast_scene import made_up_bars

AAPL, KO = Symbol("AAPL"), Symbol("KO")
LEVELS = (0.1, 0.5, 0.9)
BARS = {symbol: made_up_bars(symbol, 300) for symbol in (AAPL, KO)}


def forecast(
    symbol: Symbol = AAPL, *, bar: int = 100, horizon: int = 5, **changes: object
) -> Forecast:
    values: dict[str, object] = {
        "symbol": symbol,
        "as_of": BARS[symbol][bar].at + dt.timedelta(days=1, hours=8),
        "horizon": horizon,
        "levels": LEVELS,
        "quantiles": (-0.05, 0.002, 0.06),
        "mean": 0.002,
        "volatility": 0.04,
        "probability_up": 0.62,
        "source": ForecastSource.LOCAL,
        "model": "lstm/1",
        "model_hash": "a" * 64,
        "data_cutoff": BARS[symbol][bar].at.date(),
        **changes,
    }
    return Forecast(**values)  # type: ignore[arg-type]


def locked(*forecasts: Forecast, after: LockedForecast | None = None) -> tuple[LockedForecast, ...]:
    return lock(
        forecasts,
        {one.symbol: 100.0 for one in forecasts},
        base_rate=0.55,
        locked_at=forecasts[0].as_of,
        after=after,
    )


def test_records_are_chained_in_the_order_of_symbols() -> None:
    first, second = locked(forecast(KO), forecast(AAPL))
    (third,) = locked(forecast(AAPL, bar=101), after=second)

    assert (first.symbol, second.symbol) == (AAPL, KO)
    assert [record.number for record in (first, second, third)] == [1, 2, 3]
    verify_chain((first, second, third))
    verify_chain((third,), second)


def test_a_symbol_without_a_last_close_is_not_locked() -> None:
    at = forecast().as_of

    assert lock([forecast()], {}, base_rate=0.5, locked_at=at, after=None) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"probability_up": 0.63},
        {"quantiles": (-0.05, 0.003, 0.06)},
        {"base_rate": 0.5},
        {"locked_at": dt.datetime(2022, 1, 1, tzinfo=dt.UTC)},
    ],
)
def test_a_record_that_was_changed_is_found_out(change: dict[str, object]) -> None:
    (record,) = locked(forecast())

    with pytest.raises(StateError, match="was changed after it was locked"):
        verify_chain([dataclasses.replace(record, **change)])  # type: ignore[arg-type]


def test_an_answer_is_held_by_the_digest_of_its_last_forecast() -> None:
    first = locked(forecast(AAPL), forecast(KO))
    second = locked(forecast(AAPL, bar=101), forecast(KO, bar=101), after=first[-1])
    verify_answer(second, first=3, digest=second[-1].digest)
    forged = locked(forecast(AAPL, bar=102), forecast(KO, bar=102), after=first[-1])

    for broken in (second[:1], second[1:], (), first, forged):
        with pytest.raises(StateError, match="not all there"):
            verify_answer(broken, first=3, digest=second[-1].digest)
    with pytest.raises(StateError, match="does not follow"):
        verify_answer((forged[0], second[1]), first=3, digest=second[-1].digest)


def test_a_record_that_is_missing_moved_or_slipped_in_is_found_out() -> None:
    records = locked(forecast(AAPL), forecast(KO))
    other = locked(forecast(AAPL, probability_up=0.7), forecast(KO))

    for broken in (records[1:], records[::-1], (records[0], other[1]), (other[0], records[1])):
        with pytest.raises(StateError, match="does not follow its predecessor"):
            verify_chain(broken)


def test_a_forecast_is_scored_when_it_matures_and_not_before() -> None:
    records = locked(forecast(bar=100, horizon=5))
    until = {AAPL: BARS[AAPL][:105]}

    assert score(records, until) == ()
    (found,) = score(records, {AAPL: BARS[AAPL][:106]})

    expected = math.log(BARS[AAPL][105].close / BARS[AAPL][100].close)
    assert found.outcome == pytest.approx(expected)
    assert found.matured_on == BARS[AAPL][105].at.date()
    assert found.was_right == (expected > 0)


def test_later_splits_change_no_score() -> None:
    records = locked(forecast())
    split = [
        dataclasses.replace(bar, close=bar.close / 4, open=None, high=None, low=None)
        for bar in BARS[AAPL]
    ]

    (before,) = score(records, BARS)
    (after,) = score(records, {AAPL: split})

    assert after.outcome == pytest.approx(before.outcome)


def test_a_forecast_locked_after_its_outcome_was_known_does_not_count() -> None:
    one = forecast()
    late = BARS[AAPL][105].at + dt.timedelta(hours=16)

    records = lock([one], {AAPL: 1.0}, base_rate=0.5, locked_at=late, after=None)

    assert score(records, BARS) == ()


def test_a_forecast_of_one_session_locked_before_the_open_counts() -> None:
    records = locked(forecast(horizon=1, as_of=BARS[AAPL][101].at + dt.timedelta(hours=8)))

    assert len(score(records, BARS)) == 1


def test_only_the_first_forecast_of_a_day_counts() -> None:
    first = locked(forecast())
    second = locked(forecast(probability_up=0.4), after=first[-1])

    (found,) = score((*first, *second), BARS)

    assert found.probability_up == 0.62


def test_a_forecast_without_its_bars_is_not_scored() -> None:
    records = locked(forecast())

    assert score(records, {}) == ()
    assert score(records, {AAPL: BARS[AAPL][101:]}) == ()


def many(right_share: float, count: int = 2000) -> Scores:
    """Scores of forecasts of one session that are right with a given chance."""
    generator = np.random.default_rng(5)
    records = []
    start = dt.datetime(2015, 1, 5, 5, tzinfo=dt.UTC)
    days = [start + dt.timedelta(days=number) for number in range(count + 1)]
    rises = generator.random(count) < 0.5
    right = generator.random(count) < right_share
    closes = np.exp(np.concatenate(([0.0], np.cumsum(np.where(rises, 0.01, -0.01)))))
    bars = [Bar(symbol=AAPL, at=at, close=float(c)) for at, c in zip(days, closes, strict=True)]
    last: LockedForecast | None = None
    for number in range(count):
        chance = 0.55 if rises[number] == right[number] else 0.45
        (last,) = lock(
            [
                forecast(
                    horizon=1,
                    data_cutoff=days[number].date(),
                    probability_up=chance,
                    quantiles=(-0.02, 0.0, 0.02) if number % 5 else (0.05, 0.06, 0.07),
                )
            ],
            {AAPL: 1.0},
            base_rate=0.5,
            locked_at=days[number] + dt.timedelta(hours=20),
            after=last,
        )
        records.append(last)
    found = scores_of(score(records, {AAPL: bars}))
    assert found is not None
    return found


def test_scores_stand_beside_their_baseline() -> None:
    scores = many(0.6)

    assert scores.count == 2000
    assert scores.accuracy == pytest.approx(0.6, abs=0.03)
    assert scores.baseline_accuracy == pytest.approx(0.5, abs=0.03)
    assert scores.advantage == pytest.approx(scores.accuracy - scores.baseline_accuracy)
    assert scores.coverage_of_80_band == pytest.approx(0.8, abs=0.01)
    assert scores.brier_skill > 0
    assert 1000 < scores.effective_size <= 2000


def test_scores_are_grouped_by_what_one_asks_for() -> None:
    records = locked(forecast(AAPL), forecast(KO))
    more = locked(forecast(AAPL, bar=120), forecast(KO, bar=120), after=records[-1])
    scored = score((*records, *more), BARS)

    names = {
        name: set(grouped(scored, by))
        for name, by in {
            "model": by_model,
            "source": by_source,
            "symbol": by_symbol,
            "confidence": by_confidence,
        }.items()
    }

    assert names == {
        "model": {"lstm/1"},
        "source": {"local"},
        "symbol": {"AAPL", "KO"},
        "confidence": {"60-65 %"},
    }


def test_one_day_is_too_little_for_a_score() -> None:
    assert scores_of(score(locked(forecast()), BARS)) is None


def test_overlapping_forecasts_count_once_per_horizon() -> None:
    records = []
    last: LockedForecast | None = None
    for bar in range(50, 250):
        (last,) = locked(forecast(bar=bar, horizon=20), after=last)
        records.append(last)

    found = scores_of(score(records, BARS))

    assert found is not None
    assert (found.count, found.periods) == (200, 10)
    assert found.effective_size <= 10


@pytest.mark.parametrize(("freedom", "point"), [(4, 2.776), (9, 2.262), (30, 2.042), (1e6, 1.96)])
def test_few_periods_need_a_wider_margin(freedom: float, point: float) -> None:
    assert student(freedom) == pytest.approx(point, rel=0.01)


def scores(**changes: float) -> Scores:
    values = {
        "accuracy": 0.52,
        "baseline_accuracy": 0.53,
        "advantage": -0.01,
        "advantage_error": 0.02,
        "effective_size": 500.0,
        "periods": 250.0,
        "brier": 0.249,
        "baseline_brier": 0.249,
        "brier_excess_error": 0.0005,
        "coverage_of_80_band": 0.8,
        "coverage_error": 0.01,
        **changes,
    }
    return Scores(count=5000, **values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"advantage": -0.05}, "less often right"),
        ({"coverage_of_80_band": 0.69}, "80 % band"),
        ({"coverage_of_80_band": 0.91}, "80 % band"),
        ({"coverage_of_80_band": math.nan}, "80 % band"),
        ({"coverage_error": math.nan}, "80 % band"),
        ({"brier": 0.253}, "Brier skill"),
        ({"brier": math.nan}, "Brier skill"),
        ({"advantage": math.nan}, "less often right"),
    ],
)
def test_a_model_worse_than_its_baseline_beyond_chance_is_complained_of(
    changes: dict[str, float], words: str
) -> None:
    found = complaint(scores(**changes), DriftSettings())

    assert found is not None
    assert words in found


def test_an_honest_model_below_55_percent_is_kept_by_default_and_demoted_by_the_floor() -> None:
    assert complaint(scores(), DriftSettings()) is None
    assert complaint(scores(), DriftSettings(rule=DriftRule.ABSOLUTE)) is not None
    assert complaint(scores(accuracy=0.56), DriftSettings(rule=DriftRule.ABSOLUTE)) is None


def test_too_little_evidence_is_no_complaint() -> None:
    assert complaint(None, DriftSettings()) is None
    assert complaint(scores(advantage=-0.2, effective_size=20.0), DriftSettings()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"advantage": -0.05, "advantage_error": 0.03},
        {"advantage": -0.05, "periods": 3.0},
        {"coverage_of_80_band": 0.70, "coverage_error": 0.02},
        {"brier": 0.253, "brier_excess_error": 0.002},
    ],
)
def test_what_chance_could_have_done_is_no_complaint(changes: dict[str, float]) -> None:
    assert complaint(scores(**changes), DriftSettings()) is None


def checked(state: Standing | None, seen: Scores, settings: DriftSettings, model: str) -> Standing:
    return check(state, seen, settings, source=ForecastSource.REMOTE, model=model)


def test_demotion_and_return_take_several_checks_in_a_row() -> None:
    settings = DriftSettings(bad_checks=3, good_checks=2, cool_down_checks=2)
    bad, good = scores(advantage=-0.1), scores()
    state: Standing | None = None
    history = []

    for seen in (bad, bad, good, bad, bad, bad, good, good, good, bad, bad, bad):
        state = checked(state, seen, settings, "lstm/1")
        history.append(state.is_demoted)

    assert history == [False] * 5 + [True, True, True, False] + [False, False, True]
    assert state is not None
    assert "less often right" in state.reason


def test_another_model_starts_afresh() -> None:
    settings = DriftSettings(bad_checks=1, cool_down_checks=5)
    demoted = checked(None, scores(advantage=-0.1), settings, "lstm/1")

    assert demoted.is_demoted
    assert not checked(demoted, scores(), settings, "lstm/2").is_demoted
    assert checked(demoted, scores(), settings, "lstm/1").is_demoted
