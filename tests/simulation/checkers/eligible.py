"""What nothing may be opened in, whoever forecasts what (I10)."""

import datetime as dt

from domain.orders import OrderRequest, Side
from risk.settings import RiskLimits
from tests.simulation.checkers.evidence import Violations
from tests.simulation.market import UNSHORTABLE, calendar
from tests.simulation.truth import Truth


def may_be_opened(truth: Truth, request: OrderRequest, limits: RiskLimits) -> Violations:
    """I10: nothing is opened in what is halted, cannot be borrowed, reports, or is about to end."""
    order_id, symbol, market = request.client_order_id, request.symbol, truth.market
    found: Violations = []
    if truth.is_untradable(symbol):
        found.append(("I10", f"{order_id} opens a position in a halted symbol"))
    if request.side is Side.SELL and symbol == UNSHORTABLE:
        found.append(("I10", f"{order_id} sells short what cannot be borrowed"))
    dates = [
        session.date
        for session in calendar().sessions(
            request.session_date, request.session_date + dt.timedelta(days=10)
        )
    ]
    near = dates[: limits.earnings_sessions_ahead + 1]
    if market.earnings.get(symbol) in near and not limits.allow_earnings_entries:
        found.append(("I10", f"{order_id} opens a position into {market.earnings[symbol]}"))
    if symbol in market.mergers and not truth.faults.counts["events.down"]:
        found.append(("I10", f"{order_id} opens a position in what ends soon"))
    return found
