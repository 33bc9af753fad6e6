"""What of a plan never left for the broker, in words: the run is done, the orders are not."""

from domain.money import text
from domain.orders import OrderState
from domain.trading_state import TradingState
from execution.desk import Desk
from execution.orders import SendReport

_MOST_NAMED = 5


def unsent(desk: Desk, report: SendReport) -> str:
    """Return which orders were approved and not sent, and why; empty when there are none.

    What a halt kept back is told by the halt.
    """
    found = [desk.journal.get(order_id) for order_id in report.states]
    skipped = [one for one in found if one is not None and one.state is OrderState.SKIPPED]
    if not skipped or desk.effective_state() is TradingState.HALTED:
        return ""
    named = [
        f"{one.request.side.value} {text(one.request.quantity)} {one.symbol} ({one.reason})"
        for one in skipped[:_MOST_NAMED]
    ]
    more = len(skipped) - len(named)
    listed = ", ".join([*named, f"{more} more"] if more else named)
    return (
        f"{len(skipped)} of {len(report.states)} orders were not sent and nothing sends them"
        f" again: {listed}"
    )
