"""What the demotion rules would have done with the shipped model on recorded days.

    python -m bench.forecast_drift [--horizons 1 5 20 40] [--window 60]

Locks a forecast of every symbol before each session from 2022-06-01 on, scores them as they
mature, and checks both rules once per five sessions on the last ``window`` sessions of
matured forecasts.
"""

import argparse
import asyncio
import datetime as dt
import sys
from collections.abc import Mapping, Sequence

from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar
from forecasts.drift import DriftRule, DriftSettings, DriftState, check, complaint
from forecasts.local import LocalForecaster
from forecasts.model_store import ModelStore
from forecasts.scorecard import scores_of
from forecasts.tracking import LockedForecast, ScoredForecast, lock, score
from marketdata.recording import recording

_START, _END = dt.date(2022, 6, 1), dt.date(2023, 9, 21)
_HISTORY_BARS = 200
_CHECK_EVERY = 5

History = Mapping[Symbol, Sequence[Bar]]


def main() -> int:
    """Print one line per horizon and rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--horizons", type=int, nargs="+", default=[1, 5, 20, 40])
    parser.add_argument("--window", type=int, default=60)
    asked = parser.parse_args()
    recorded = recording()
    history = {
        symbol: recorded.bars(symbol, dt.date(2020, 1, 1), _END) for symbol in recorded.symbols
    }
    store = ModelStore()
    sys.stdout.write("| horizon | rule | checks | complaints | demoted | accuracy | always up |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    for horizon in asked.horizons:
        scored = asyncio.run(_scored(LocalForecaster(store.load("lstm"), horizon=horizon), history))
        rate = _base_rate(store, horizon)
        for rule in DriftRule:
            sys.stdout.write(_line(scored, rule, horizon, asked.window, rate))
    return 0


async def _scored(engine: LocalForecaster, history: History) -> tuple[ScoredForecast, ...]:
    days = [bar.at for bar in history[Symbol("AAPL")] if _START <= bar.at.date() <= _END]
    records: list[LockedForecast] = []
    last: LockedForecast | None = None
    for day in days:
        as_of = day + dt.timedelta(hours=8)
        known = {symbol: _before(bars, day) for symbol, bars in history.items()}
        fresh = {symbol: bars for symbol, bars in known.items() if _is_fresh(bars, day)}
        found: Mapping[Symbol, Forecast] = await engine.forecast(fresh, as_of)
        closes = {symbol: bars[-1].close for symbol, bars in fresh.items()}
        locked = lock(found.values(), closes, locked_at=as_of, after=last)
        last = locked[-1]
        records.extend(locked)
    await engine.aclose()
    return score(records, history)


def _line(
    scored: Sequence[ScoredForecast], rule: DriftRule, horizon: int, window: int, rate: float
) -> str:
    settings = DriftSettings(rule=rule)
    days = sorted({one.matured_on for one in scored})
    state, checks, complaints, demoted = DriftState(), 0, 0, 0
    for end in range(window, len(days) + 1, _CHECK_EVERY):
        seen = set(days[end - window : end])
        scores = scores_of([one for one in scored if one.matured_on in seen], base_rate=rate)
        state = check(state, scores, settings)
        checks += 1
        complaints += complaint(scores, settings) is not None
        demoted += state.is_demoted
    whole = scores_of(scored, base_rate=rate)
    if whole is None or not checks:
        return f"| {horizon} | {rule.value} | 0 | - | - | - | - |\n"
    return (
        f"| {horizon} | {rule.value} | {checks} | {complaints / checks:.0%} | "
        f"{demoted / checks:.0%} | {whole.accuracy:.3f} | {whole.baseline_accuracy:.3f} |\n"
    )


def _base_rate(store: ModelStore, horizon: int) -> float:
    metrics = store.card("lstm").metrics
    known = metrics.get(str(horizon), metrics[max(metrics, key=int)])
    return known["base_rate"]


def _before(bars: Sequence[Bar], day: dt.datetime) -> Sequence[Bar]:
    end = next((place for place, bar in enumerate(bars) if bar.at >= day), len(bars))
    return bars[max(0, end - _HISTORY_BARS) : end]


def _is_fresh(bars: Sequence[Bar], day: dt.datetime) -> bool:
    return bool(bars) and day - bars[-1].at < dt.timedelta(days=6)


if __name__ == "__main__":
    sys.exit(main())
