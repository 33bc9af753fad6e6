"""What a plan leaves undone, in words: its run is done all the same, so a person has to hear.

Each returns an empty text where there is nothing to tell.
"""

from collections.abc import Sequence

from domain.decisions import GateResult
from domain.market import MarketView
from domain.money import text
from domain.orders import OrderRequest, OrderState
from domain.trading_state import TradingState
from execution.desk import Desk
from execution.orders import SendReport
from risk.limits import duplicate_intent
from risk.sizing import EXIT

_MOST_NAMED = 5


def unsent(desk: Desk, report: SendReport) -> str:
    """Name the orders that were approved and never left; what a halt kept back, the halt tells."""
    found = [desk.journal.get(order_id) for order_id in report.states]
    skipped = [one for one in found if one is not None and one.state is OrderState.SKIPPED]
    if not skipped or desk.effective_state() is TradingState.HALTED:
        return ""
    named = _listed([f"{_wish(one.request)} ({one.reason})" for one in skipped])
    return (
        f"{len(skipped)} of {len(report.states)} orders were not sent and nothing sends them"
        f" again: {named}"
    )


def denied_exits(desk: Desk, results: Sequence[GateResult]) -> str:
    """Name the exits that the gate denied: what should go is kept.

    One that left already, as that of a stop since the decision, is not among them.
    """
    exits = [
        f"{_wish(result.request)} ({', '.join(result.reasons)})"
        for result in results
        if not result.is_approved
        and result.request.leg == EXIT
        and duplicate_intent.__name__ not in result.reasons
    ]
    if not exits or desk.effective_state() is TradingState.HALTED:
        return ""
    return f"nothing sells or buys back what was decided: {_listed(exits)}"


def stuck(view: MarketView) -> str:
    """Name the holdings of the universe that the broker does not trade: no exit can leave."""
    asked = view.history.keys() | view.excluded.keys()
    found = []
    for symbol, position in sorted(view.positions.items()):
        asset = view.assets.get(symbol)
        is_tradable = asset is not None and asset.is_tradable
        if position.quantity and symbol in asked and not is_tradable:
            found.append(f"{text(position.quantity)} {symbol}")
    if not found:
        return ""
    return f"held, and the broker does not trade it now, so nothing here sells it: {_listed(found)}"


def _wish(request: OrderRequest) -> str:
    return f"{request.side.value} {text(request.quantity)} {request.symbol}"


def _listed(found: Sequence[str]) -> str:
    more = len(found) - _MOST_NAMED
    return ", ".join([*found[:_MOST_NAMED], f"{more} more"] if more > 0 else found)
