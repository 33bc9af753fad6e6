"""Covariance of daily returns: Ledoit-Wolf shrinkage, and its use for a set of symbols."""

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domain.errors import SizingError
from domain.ids import Symbol
from domain.market import Bar
from risk.kelly import Array

MIN_RETURNS = 20
MIN_VOLATILITY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class LedoitWolf:
    """Shrunk covariance (ddof 0), the weight of its target, and the target's variance."""

    cov: Array
    shrinkage: float
    mu: float
    sample_cov_ddof0: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnModel:
    """Correlation and daily volatility of the symbols that have a complete history."""

    symbols: tuple[Symbol, ...]
    correlation: Array
    volatility: Array
    left_out: Mapping[Symbol, str]


def ledoit_wolf(returns: Array) -> LedoitWolf:
    """Shrink the sample covariance of ``returns`` (rows are periods) to a scaled identity.

    Source: Ledoit and Wolf (2004), JMVA 88, "A well-conditioned estimator".
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:  # noqa: PLR2004 - rows and columns
        raise SizingError(f"returns of shape {x.shape}: at least 2 rows and 1 column are needed")
    if not np.isfinite(x).all():
        raise SizingError("returns are not finite")
    n, p = x.shape
    centred = x - x.mean(axis=0)
    sample = centred.T @ centred / n
    mu = float(np.trace(sample)) / p
    delta = float(((sample - mu * np.eye(p)) ** 2).sum()) / p
    # sum_k ||x_k x_k' - S||^2 = sum_k |x_k|^4 - n ||S||^2, without p x p matrices per row.
    fourth = float(((centred**2).sum(axis=1) ** 2).sum())
    beta = (fourth - n * float((sample**2).sum())) / (n * n * p)
    shrinkage = min(1.0, max(0.0, beta / delta)) if delta > 0 else 0.0
    cov = (1 - shrinkage) * sample + shrinkage * mu * np.eye(p)
    return LedoitWolf(cov=cov, shrinkage=shrinkage, mu=mu, sample_cov_ddof0=sample)


def return_model(
    history: Mapping[Symbol, Sequence[Bar]], symbols: Sequence[Symbol], sessions: int
) -> ReturnModel:
    """Estimate correlation and volatility of ``symbols`` over the last ``sessions`` returns.

    Series are joined on dates.  A symbol with a gap, too short a history or a constant
    price is left out, with the reason; nothing is filled in.
    """
    closes = {
        symbol: {bar.at.date(): bar.close for bar in history.get(symbol, ())} for symbol in symbols
    }
    dates = _common_dates(closes)[-sessions - 1 :]
    kept: list[Symbol] = []
    columns: list[Array] = []
    left_out: dict[Symbol, str] = {}
    for symbol in sorted(closes):
        column = _log_returns(closes[symbol], dates)
        if isinstance(column, str):
            left_out[symbol] = column
        else:
            kept.append(symbol)
            columns.append(column)
    if not kept:
        empty = np.zeros(0)
        return ReturnModel(
            symbols=(), correlation=np.zeros((0, 0)), volatility=empty, left_out=left_out
        )
    matrix = np.column_stack(columns)
    volatility = matrix.std(axis=0)
    # Standardized first: the target is a scaled identity, and a quiet stock next to a
    # wild one would otherwise be shrunk up.
    shrunk = ledoit_wolf(matrix / volatility).cov
    spread = np.sqrt(np.diag(shrunk))
    correlation = shrunk / np.outer(spread, spread)
    np.fill_diagonal(correlation, 1.0)  # a root squared may miss by the last bit
    return ReturnModel(
        symbols=tuple(kept),
        correlation=correlation,
        volatility=volatility,
        left_out=left_out,
    )


def _common_dates(closes: Mapping[Symbol, Mapping[dt.date, float]]) -> list[dt.date]:
    """Dates that at least half of the symbols with data have.

    A stray bar of one symbol must not make a gap in all others.
    """
    counts = Counter(date for series in closes.values() for date in series)
    with_data = sum(1 for series in closes.values() if series)
    return sorted(date for date, count in counts.items() if 2 * count >= with_data)


def _log_returns(closes: Mapping[dt.date, float], dates: Sequence[dt.date]) -> Array | str:
    if len(dates) <= MIN_RETURNS:
        return f"history shorter than {MIN_RETURNS} returns"
    missing = [date for date in dates if date not in closes]
    if missing:
        return f"history has a gap on {missing[0].isoformat()}"
    series = np.array([math.log(closes[date]) for date in dates])
    returns = np.diff(series)
    # Rounding alone moves a constant series by less than this.
    if not returns.std() > MIN_VOLATILITY:
        return "price never moved"
    return returns
