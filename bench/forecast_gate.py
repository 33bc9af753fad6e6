"""How many symbols pass the confidence gate on each day of a span, with the shipped model.

    python -m bench.forecast_gate [--start 2022-06-01] [--end 2022-12-28] [--horizon 40]
        [--gate 0.6] [--symbols AAPL AMZN GOOG META NFLX NVDA]

Prints P(up) before the open of each session (a star passes), then the share that passes
and how often those were right.
"""

import argparse
import asyncio
import datetime as dt
import math
import sys
from collections.abc import Mapping

from domain.forecasts import Forecast
from domain.ids import Symbol
from forecasts.local import LocalForecaster
from forecasts.model_store import ModelStore
from marketdata.recording import recording

_RANGED = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
_HISTORY_DAYS = 400


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=dt.date.fromisoformat, default=dt.date(2022, 6, 1))
    parser.add_argument("--end", type=dt.date.fromisoformat, default=dt.date(2022, 12, 28))
    parser.add_argument("--horizon", type=int, default=40)
    parser.add_argument("--gate", type=float, default=0.6)
    parser.add_argument("--symbols", nargs="+", default=list(_RANGED))
    asyncio.run(_table(parser.parse_args()))
    return 0


async def _table(asked: argparse.Namespace) -> None:
    symbols = [Symbol(symbol) for symbol in sorted(asked.symbols)]
    engine = LocalForecaster(ModelStore().load("lstm"), horizon=asked.horizon)
    passed, matured, right = 0, 0, 0
    rows = 0
    for bar in recording().bars(symbols[0], asked.start, asked.end):
        day = bar.at.date()
        found = await _before_open(engine, symbols, day)
        cells = [_cell(found.get(symbol), asked.gate) for symbol in symbols]
        sys.stdout.write(f"{day}  {'  '.join(cells)}  {sum('*' in cell for cell in cells)}\n")
        for forecast in found.values():
            rows += 1
            if forecast.confidence >= asked.gate:
                passed += 1
                outcome = _outcome(forecast, day)
                matured += outcome is not None
                right += outcome is (forecast.probability_up > 1 / 2)
    await engine.aclose()
    share = f"{passed / rows:.3f} of {rows} pass {asked.gate}" if rows else "nothing to forecast"
    hits = f"; {right / matured:.3f} of {matured} matured were right" if matured else ""
    sys.stdout.write(f"{share}{hits}\n")


async def _before_open(
    engine: LocalForecaster, symbols: list[Symbol], day: dt.date
) -> Mapping[Symbol, Forecast]:
    start, last = day - dt.timedelta(days=_HISTORY_DAYS), day - dt.timedelta(days=1)
    history = {symbol: recording().bars(symbol, start, last) for symbol in symbols}
    return await engine.forecast(history, dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC))


def _outcome(forecast: Forecast, day: dt.date) -> bool | None:
    far = day + dt.timedelta(days=3 * forecast.horizon)
    before = recording().bars(forecast.symbol, forecast.data_cutoff, forecast.data_cutoff)
    later = recording().bars(forecast.symbol, day, far)
    if len(later) < forecast.horizon:
        return None
    return math.log(later[forecast.horizon - 1].close / before[0].close) > 0


def _cell(forecast: Forecast | None, gate: float) -> str:
    if forecast is None:
        return f"{'-':>11}"
    star = "*" if forecast.confidence >= gate else " "
    return f"{forecast.symbol:>5} {forecast.probability_up:.3f}{star}"


if __name__ == "__main__":
    sys.exit(main())
