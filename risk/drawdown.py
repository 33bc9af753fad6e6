"""Loss limits on the account: daily loss, drawdown from the high-water mark, and what follows.

The high-water mark follows the additive rule: a deposit or withdrawal moves it by exactly
its amount, and nothing else lowers it.  After a withdrawal at a loss the percentage is
larger than on a unit NAV, so the rule errs towards stopping.
"""

from dataclasses import dataclass
from decimal import Decimal

from domain.daily_pnl import daily_loss_pct, daily_pnl
from domain.money import ZERO, text
from domain.trading_state import TradingState
from risk.context import is_known
from risk.settings import RiskLimits

HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskAssessment:
    """What the account's figures mean for trading; percentages are losses, >= 0 is bad.

    A missing figure is None, and then entries are blocked without engaging the latch.
    """

    trading_state: TradingState
    should_engage_latch: bool
    reasons: tuple[str, ...]
    daily_pnl: Decimal | None
    daily_loss_pct: Decimal | None
    drawdown_pct: Decimal | None


def drawdown_pct(equity: Decimal, high_water_mark: Decimal) -> Decimal:
    """Return the loss from the mark in percent; 0 at or above it."""
    return max(ZERO, (high_water_mark - equity) * HUNDRED / high_water_mark)


def assess(
    *,
    equity: Decimal | None,
    equity_age_seconds: float | None,
    high_water_mark: Decimal | None,
    session_start: Decimal | None,
    flows: Decimal,
    limits: RiskLimits,
) -> RiskAssessment:
    """Judge the account.

    Args:
        equity: broker equity, USD; None when it could not be read.
        equity_age_seconds: how old that figure is.
        high_water_mark: persisted mark, after all flows up to now.
        session_start: equity at the end of the session before, USD.
        flows: deposits less withdrawals since then, USD.
        limits: the bounds.

    Returns:
        ACTIVE, or REDUCING with reasons.  Each limit asks for the latch where the figures that
        it needs are known: a drawdown is one also before the session's start is.
    """
    unknown = _unknown(equity, equity_age_seconds, high_water_mark, session_start, flows, limits)
    fresh = _known(equity) if _is_fresh(equity_age_seconds, limits) else None
    mark, start = _known(high_water_mark), _known(session_start)
    fall = pnl = loss = None
    if fresh is not None and mark is not None:
        fall = drawdown_pct(fresh, mark)
    if fresh is not None and start is not None and flows.is_finite():
        pnl = daily_pnl(fresh, start, flows)
        loss = daily_loss_pct(fresh, start, flows)
    latching = _latching(loss, fall, limits)
    reasons = latching or unknown or _reducing(loss, limits)
    state = TradingState.REDUCING if reasons else TradingState.ACTIVE
    return RiskAssessment(
        trading_state=TradingState.HALTED if latching else state,
        should_engage_latch=bool(latching),
        reasons=reasons,
        daily_pnl=pnl,
        daily_loss_pct=loss,
        drawdown_pct=fall,
    )


def _latching(loss: Decimal | None, fall: Decimal | None, limits: RiskLimits) -> tuple[str, ...]:
    reasons = []
    if fall is not None and not fall < limits.max_drawdown_pct:
        reasons.append(f"drawdown {fall:.2f} % reached {text(limits.max_drawdown_pct)} %")
    if loss is not None and not loss < limits.max_daily_loss_pct:
        reasons.append(f"daily loss {loss:.2f} % reached {text(limits.max_daily_loss_pct)} %")
    return tuple(reasons)


def _reducing(loss: Decimal | None, limits: RiskLimits) -> tuple[str, ...]:
    if loss is None or loss < limits.reduce_at_daily_loss_pct:
        return ()
    return (f"daily loss {loss:.2f} % reached {text(limits.reduce_at_daily_loss_pct)} %",)


def _known(value: Decimal | None) -> Decimal | None:
    return value if is_known(value) else None


def _is_fresh(age_seconds: float | None, limits: RiskLimits) -> bool:
    return age_seconds is not None and 0 <= age_seconds <= limits.equity_stale_after_seconds


def _unknown(
    equity: Decimal | None,
    age_seconds: float | None,
    high_water_mark: Decimal | None,
    session_start: Decimal | None,
    flows: Decimal,
    limits: RiskLimits,
) -> tuple[str, ...]:
    reasons = []
    if not is_known(equity):
        reasons.append("equity is unknown")
    if not _is_fresh(age_seconds, limits):
        reasons.append("equity is stale")
    if not is_known(high_water_mark):
        reasons.append("high-water mark is unknown")
    if not is_known(session_start):
        reasons.append("equity at the session's start is unknown")
    if not flows.is_finite():
        reasons.append("cash flows are unknown")
    return tuple(reasons)
