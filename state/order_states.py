"""How the state of an order may move: evidence of the broker wins, and nothing goes back."""

from domain.orders import OrderState

_LOCAL_ENDS = frozenset({OrderState.DENIED, OrderState.SKIPPED})
_BEFORE_EVIDENCE = frozenset(
    {
        OrderState.PLANNED,
        OrderState.APPROVED,
        OrderState.SENDING,
        OrderState.UNKNOWN,
        OrderState.ABANDONED,
    }
)


_WORKING = {state.value: int(state.may_be_working) for state in OrderState}


def is_working(state: str) -> int:
    """Return 1 for the text of a state in which an order may still fill, else 0."""
    return _WORKING[state]


def reported(current: OrderState, told: OrderState, *, has_broker_id: bool) -> OrderState:
    """Return the state after the broker reports ``told``.

    Args:
        current: what the journal has.
        told: what the broker says now; may be older than what is known.
        has_broker_id: whether the broker was known to hold the order before this.
    """
    if _is_our_guess(current, has_broker_id=has_broker_id):
        return told
    if current.is_terminal:
        # A late fill can complete an order that a cancel or the close had ended.
        return OrderState.FILLED if told is OrderState.FILLED else current
    if current is OrderState.CANCELING and told is OrderState.LIVE:
        return current
    return told


def executed(current: OrderState, *, is_complete: bool, has_broker_id: bool) -> OrderState:
    """Return the state after an execution was booked: proof that the broker had the order."""
    if is_complete:
        return OrderState.FILLED
    if _is_our_guess(current, has_broker_id=has_broker_id):
        return OrderState.LIVE
    return current


def _is_our_guess(current: OrderState, *, has_broker_id: bool) -> bool:
    if current in _BEFORE_EVIDENCE or current in _LOCAL_ENDS:
        return True
    # Refused in the answer to the send, but never seen at the broker: a guess as well.
    return current is OrderState.REJECTED and not has_broker_id
