"""Statistics of closed round trips, and how the account was used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import DataError
from domain.series import mean, ratio, require_finite_series

SESSIONS_A_YEAR = 252


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStatistics:
    """Round trips in USD; turnover a year and exposures as shares of equity."""

    win_rate: float
    win_rate_excl_flat: float | None
    profit_factor: float | None
    avg_win: float | None
    avg_loss: float | None
    payoff: float | None
    expectancy: float
    turnover_two_sided_annual: float
    turnover_one_sided_annual: float
    gross_exposure_mean: float
    net_exposure_mean: float
    time_in_market: float


def trade_statistics(
    *,
    pnl: Sequence[float],
    notional_traded: Sequence[float],
    equity: Sequence[float],
    long_mv: Sequence[float],
    short_mv: Sequence[float],
) -> TradeStatistics:
    """Summarize.

    Args:
        pnl: USD of each closed round trip.
        notional_traded: USD bought plus sold, each session.
        equity: USD, each session, above 0.
        long_mv: USD of longs at the close, each session.
        short_mv: USD of shorts at the close, each session, 0 or below.

    Raises:
        DataError: a series is empty, not finite, or of another length.
    """
    trips = require_finite_series(pnl, "pnl", at_least=1)
    base = require_finite_series(equity, "equity", at_least=1)
    traded = _same_length(notional_traded, base, "notional_traded")
    longs = _same_length(long_mv, base, "long_mv")
    shorts = _same_length(short_mv, base, "short_mv")
    if not all(value > 0 for value in base):
        raise DataError("equity: every value must be above 0")
    wins, losses = [p for p in trips if p > 0], [p for p in trips if p < 0]
    avg_win, avg_loss = mean(wins) if wins else None, mean(losses) if losses else None
    turnover = math.fsum(t / e for t, e in zip(traded, base, strict=True)) / len(base)
    exposures = list(zip(longs, shorts, base, strict=True))
    has_both = avg_win is not None and avg_loss is not None
    return TradeStatistics(
        win_rate=len(wins) / len(trips),
        win_rate_excl_flat=ratio(len(wins), len(wins) + len(losses)),
        profit_factor=ratio(math.fsum(wins), -math.fsum(losses)),
        avg_win=avg_win,
        avg_loss=avg_loss,
        payoff=ratio(avg_win or 0.0, -(avg_loss or 0.0)) if has_both else None,
        expectancy=mean(trips),
        turnover_two_sided_annual=turnover * SESSIONS_A_YEAR,
        turnover_one_sided_annual=turnover * SESSIONS_A_YEAR / 2,
        gross_exposure_mean=mean([(long - short) / e for long, short, e in exposures]),
        net_exposure_mean=mean([(long + short) / e for long, short, e in exposures]),
        time_in_market=mean([float(long != 0 or short != 0) for long, short, _ in exposures]),
    )


def _same_length(values: Sequence[float], like: Sequence[float], name: str) -> list[float]:
    series = require_finite_series(values, name, at_least=1)
    if len(series) != len(like):
        raise DataError(f"{name} and equity differ in length; join them on dates first")
    return series
