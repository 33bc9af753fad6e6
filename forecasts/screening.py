"""What an engine's numbers must pass before they become forecasts.

Used for the remote engine and for the local one alike: a model file can be as wrong as a
server.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import DataError, ProviderUnavailable
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts.bar_features import LONGEST_WINDOW, SCALE_FEATURE
from forecasts.card import ModelCard
from forecasts.distribution import distribution_of
from forecasts.features import BarColumns, FeatureSet, columns_of, contexts_of

# A cumulative return of e^1.5 - 1 = 350 % or -78 % within a horizon is no forecast; nor is
# one of more than 12 times the volatility of that horizon.
LARGEST_LOG_RETURN = 1.5
LARGEST_IN_VOLATILITIES = 12.0
LARGEST_BAD_FRACTION = 0.1
# A dead model answers the same number for everybody, or the same number of volatilities: ours
# think in those, so what has learnt nothing, or is saturated, still differs from symbol to symbol
# in returns.  The shipped model never told 25 symbols apart by less than 0.3 volatilities; that
# all lean one way is no sign, it does so on most days.  Of fewer symbols one cannot tell.
FEWEST_FOR_DISPERSION = 5
SMALLEST_DISPERSION = 1e-6
SMALLEST_DISPERSION_IN_VOLATILITIES = 1e-3
DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The inputs of one forecast call, symbols sorted.

    ``contexts`` is (n, lookback, features); ``cutoffs`` are the dates of the last bars.
    """

    symbols: tuple[Symbol, ...]
    contexts: NDArray[np.float32]
    cutoffs: tuple[dt.date, ...]

    @property
    def data_cutoff(self) -> dt.date:
        """Date of the newest bar of all."""
        return max(self.cutoffs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who answered, for the forecasts made of the answer."""

    source: ForecastSource
    model: str
    model_hash: str
    levels: tuple[float, ...]
    horizon: int


def bars_needed(lookback: int) -> int:
    """Return how many bars a symbol needs to be forecast."""
    return LONGEST_WINDOW + lookback


def refuse_in_sample(card: ModelCard, as_of: dt.datetime) -> None:
    """Refuse a day whose prices the model has seen: such a forecast flatters.

    Raises:
        ProviderUnavailable: the day is not after the model's data cut-off.
    """
    if not as_of.date() > card.data_cutoff:
        raise ProviderUnavailable(
            f"model {card.title} was trained on prices up to {card.data_cutoff}; "
            f"a forecast of {as_of.date()} would not be out of sample"
        )


def batch_of(
    history: Mapping[Symbol, Sequence[Bar]],
    as_of: dt.datetime,
    lookback: int,
    feature_set: FeatureSet = FeatureSet.BARS,
) -> Batch | None:
    """Compute the inputs of every symbol that has enough complete bars, or None."""
    symbols, columns = [], []
    for symbol in sorted(history):
        bars = history[symbol]
        if len(bars) < bars_needed(lookback) or not bars[-1].at < as_of:
            continue
        found = _columns(bars[-bars_needed(lookback) :])
        if found is not None:
            symbols.append(symbol)
            columns.append(found)
    if not symbols:
        return None
    contexts = contexts_of(columns, lookback, feature_set)
    usable = np.flatnonzero(np.isfinite(contexts).all(axis=(1, 2)))
    if not usable.size:
        return None
    return Batch(
        symbols=tuple(symbols[row] for row in usable),
        contexts=contexts[usable],
        cutoffs=tuple(columns[row].last_date for row in usable),
    )


def forecasts_of(
    batch: Batch, quantiles: NDArray[np.float32], origin: Origin, as_of: dt.datetime
) -> Mapping[Symbol, Forecast]:
    """Turn (n, horizon, levels) quantiles into forecasts of ``origin.horizon`` sessions.

    A symbol whose numbers are unusable is absent.

    Raises:
        ProviderUnavailable: the answer as a whole cannot be trusted.
    """
    expected = (len(batch.symbols), len(origin.levels))
    if quantiles.ndim != 3 or (quantiles.shape[0], quantiles.shape[2]) != expected:  # noqa: PLR2004
        raise ProviderUnavailable(f"{origin.model} answered a wrong shape, {quantiles.shape}")
    if quantiles.shape[1] < origin.horizon:
        raise ProviderUnavailable(
            f"{origin.model} forecasts {quantiles.shape[1]} sessions, forecasts.horizon asks for "
            f"{origin.horizon}"
        )
    # Processors differ in the last bits of a float32.  A millionth of a return is nothing to a
    # decision, and with it rounded away the same day looks the same on every host.
    exact = quantiles[:, origin.horizon - 1].astype(np.float64)
    chosen = exact.round(DECIMALS)
    volatility = _volatility(batch, origin.horizon)
    usable = _is_plausible(chosen, volatility)
    _refuse_bad_answer(origin, usable)
    _refuse_dead(origin, exact[usable], volatility[usable])
    found: dict[Symbol, Forecast] = {}
    for row in np.flatnonzero(usable):
        symbol = batch.symbols[row]
        found[symbol] = _forecast(symbol, chosen[row], origin, as_of, batch.cutoffs[row])
    return found


def _columns(bars: Sequence[Bar]) -> BarColumns | None:
    try:
        return columns_of(bars)
    except DataError:
        return None


def _volatility(batch: Batch, horizon: int) -> NDArray[np.float64]:
    """Return what each symbol's returns over the horizon usually vary by."""
    daily = np.exp(batch.contexts[:, -1, SCALE_FEATURE].astype(np.float64))
    return np.asarray(daily * np.sqrt(horizon))


def _is_plausible(
    quantiles: NDArray[np.float64], volatility: NDArray[np.float64]
) -> NDArray[np.bool_]:
    bound = np.minimum(LARGEST_LOG_RETURN, LARGEST_IN_VOLATILITIES * volatility)
    # NaN fails the comparison, and a band without width is no distribution.
    within = (np.abs(quantiles) <= bound[:, None]).all(axis=1)
    return np.asarray(within & (quantiles.max(axis=1) > quantiles.min(axis=1)))


def _refuse_bad_answer(origin: Origin, usable: NDArray[np.bool_]) -> None:
    bad = int((~usable).sum())
    if bad > LARGEST_BAD_FRACTION * usable.size:
        raise ProviderUnavailable(
            f"{origin.model} answered {bad} of {usable.size} symbols with impossible numbers"
        )


def _refuse_dead(
    origin: Origin, quantiles: NDArray[np.float64], volatility: NDArray[np.float64]
) -> None:
    if quantiles.shape[0] < FEWEST_FOR_DISPERSION:
        return
    if not _dispersion(quantiles) > SMALLEST_DISPERSION:
        raise ProviderUnavailable(f"{origin.model} answered every symbol alike; it is dead")
    scaled = quantiles / volatility[:, None]
    if not _dispersion(scaled) > SMALLEST_DISPERSION_IN_VOLATILITIES:
        raise ProviderUnavailable(
            f"{origin.model} answered every symbol alike but for its volatility; it is dead"
        )


def _dispersion(rows: NDArray[np.float64]) -> float:
    """Return by how much symbols are told apart, at the level where that is most."""
    return float(np.ptp(rows, axis=0).max())


def _forecast(
    symbol: Symbol,
    quantiles: NDArray[np.float64],
    origin: Origin,
    as_of: dt.datetime,
    cutoff: dt.date,
) -> Forecast:
    known = distribution_of(origin.levels, quantiles.tolist())
    return Forecast(
        symbol=symbol,
        as_of=as_of,
        horizon=origin.horizon,
        levels=origin.levels,
        quantiles=known.quantiles,
        mean=known.mean,
        volatility=known.volatility,
        probability_up=known.probability_up,
        source=origin.source,
        model=origin.model,
        model_hash=origin.model_hash,
        data_cutoff=cutoff,
    )
