"""What a session has gained or lost so far: one formula for the limits and for whoever looks."""

from decimal import Decimal

from domain.money import ZERO

_HUNDRED = Decimal(100)


def daily_pnl(equity: Decimal, session_start: Decimal, flows: Decimal) -> Decimal:
    """Return the USD gained since the session's start, without cash flows."""
    return equity - session_start - flows


def daily_loss_pct(equity: Decimal, session_start: Decimal, flows: Decimal) -> Decimal:
    """Return the loss of the session in percent of the capital at work; below 0 is a gain."""
    base = session_start + max(flows, ZERO)
    return -daily_pnl(equity, session_start, flows) * _HUNDRED / base
