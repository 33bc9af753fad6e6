"""What the demotion rules would have done with the shipped model on recorded days.

    python -m bench.forecast_drift [--horizons 1 5 20 40] [--window 250] [--spoil inverted|narrow]

Locks a forecast of every symbol before each session from 2022-06-01 on, scores them as they
mature, and checks both rules after every session on the last ``window`` sessions of matured
forecasts, as the daemon does.  ``--spoil`` shows how soon a broken model is found out: one that
calls the other direction, or one whose band is half as wide as it should be.
"""

import argparse
import asyncio
import dataclasses
import datetime as dt
import sys
from collections.abc import Mapping, Sequence

from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from domain.track_record import LockedForecast, ScoredForecast, Standing
from forecasts.drift import DriftRule, DriftSettings, check, complaint
from forecasts.local import LocalForecaster
from forecasts.model_store import ModelStore
from forecasts.scorecard import scores_of
from forecasts.tracking import lock, score
from marketdata.recording import recording

_START, _END = dt.date(2022, 6, 1), dt.date(2023, 9, 21)
_HISTORY_BARS = 200
_FIRST_CHECK = 20

History = Mapping[Symbol, Sequence[Bar]]


def main() -> int:
    """Print one line per horizon and rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--horizons", type=int, nargs="+", default=[1, 5, 20, 40])
    parser.add_argument("--window", type=int, default=250)
    parser.add_argument("--spoil", choices=("", "inverted", "narrow"), default="")
    asked = parser.parse_args()
    recorded = recording()
    history = {
        symbol: recorded.bars(symbol, dt.date(2020, 1, 1), _END) for symbol in recorded.symbols
    }
    store = ModelStore()
    sys.stdout.write(
        "| horizon | rule | checks | complaints | demoted | accuracy | baseline | effective "
        "| first demoted after sessions |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    for horizon in asked.horizons:
        engine = LocalForecaster(store.load("lstm"), horizon=horizon)
        rate = store.card("lstm").base_rate(horizon)
        scored = asyncio.run(_scored(engine, history, rate, spoil=asked.spoil))
        for rule in DriftRule:
            sys.stdout.write(_line(scored, rule, horizon, asked.window))
    return 0


async def _scored(
    engine: LocalForecaster, history: History, rate: float, *, spoil: str
) -> tuple[ScoredForecast, ...]:
    days = [bar.at for bar in history[Symbol("AAPL")] if _START <= bar.at.date() <= _END]
    records: list[LockedForecast] = []
    last: LockedForecast | None = None
    for day in days:
        as_of = day + dt.timedelta(hours=8)
        known = {symbol: _before(bars, day) for symbol, bars in history.items()}
        fresh = {symbol: bars for symbol, bars in known.items() if _is_fresh(bars, day)}
        found: Mapping[Symbol, Forecast] = await engine.forecast(fresh, as_of)
        closes = {symbol: bars[-1].close for symbol, bars in fresh.items()}
        answers = [_spoiled(one, spoil) for one in found.values()]
        locked = lock(answers, closes, base_rate=rate, locked_at=as_of, after=last)
        last = locked[-1]
        records.extend(locked)
    await engine.aclose()
    return score(records, history)


def _line(scored: Sequence[ScoredForecast], rule: DriftRule, horizon: int, window: int) -> str:
    settings = DriftSettings(rule=rule)
    days = sorted({one.matured_on for one in scored})
    checks, complaints, demoted, first = 0, 0, 0, "-"
    state: Standing | None = None
    for end in range(min(window, _FIRST_CHECK), len(days) + 1):
        seen = set(days[max(0, end - window) : end])
        scores = scores_of([one for one in scored if one.matured_on in seen])
        state = check(state, scores, settings, source=ForecastSource.LOCAL, model="lstm")
        checks += 1
        complaints += complaint(scores, settings) is not None
        demoted += state.is_demoted
        if state.is_demoted and first == "-":
            first = str(end)
    whole = scores_of(scored)
    if whole is None or not checks:
        return f"| {horizon} | {rule.value} | 0 | - | - | - | - | - | - |\n"
    return (
        f"| {horizon} | {rule.value} | {checks} | {complaints / checks:.0%} | "
        f"{demoted / checks:.0%} | {whole.accuracy:.3f} | {whole.baseline_accuracy:.3f} | "
        f"{whole.effective_size:.0f} | {first} |\n"
    )


def _spoiled(forecast: Forecast, how: str) -> Forecast:
    if how == "inverted":
        return dataclasses.replace(forecast, probability_up=1 - forecast.probability_up)
    if how == "narrow":
        middle = forecast.quantiles[len(forecast.quantiles) // 2]
        half = tuple(middle + (one - middle) / 2 for one in forecast.quantiles)
        return dataclasses.replace(forecast, quantiles=half)
    return forecast


def _before(bars: Sequence[Bar], day: dt.datetime) -> Sequence[Bar]:
    end = next((place for place, bar in enumerate(bars) if bar.at >= day), len(bars))
    return bars[max(0, end - _HISTORY_BARS) : end]


def _is_fresh(bars: Sequence[Bar], day: dt.datetime) -> bool:
    return bool(bars) and day - bars[-1].at < dt.timedelta(days=6)


if __name__ == "__main__":
    sys.exit(main())
