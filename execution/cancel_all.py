"""Cancel every open order and see that it is so.

An answer to a cancel says little: the loop ends only when a read of the open orders
comes back empty.  While they cannot be read the broker is asked to cancel without a list.
Needs the broker and a clock, no database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import AuthRefused, BrokerError, BrokerUnavailable, RateLimited
from domain.orders import BrokerOrder, OrderState
from execution.unlisted import Unlisted
from execution.waiting import doubling, each, retry_after

Tell = Callable[[str], None]
Keep = Callable[[BrokerOrder], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to try, and how hard; seconds."""

    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 2.0
    settle_seconds: float = 0.5
    at_once: int = 8


async def cancel_all(
    broker: Broker,
    clock: Clock,
    *,
    keep: Keep,
    unlisted: Unlisted,
    until: float,
    patience: Patience,
    tell: Tell,
) -> Sequence[BrokerOrder] | None:
    """Cancel until no order is open that ``keep`` does not keep.

    Args:
        broker: where the orders are.
        clock: for pauses; ``until`` is on its monotonic scale.
        keep: tells which open orders shall stay.
        unlisted: asks for everything, once in each round in which no list comes.
        until: when to give up.
        patience: pauses and concurrency.
        tell: takes one line for the operator.

    Returns:
        The orders that are still open (empty is success), or None where the broker
        never answered.

    Raises:
        AuthRefused: the keys were refused, so trying again cannot help.
    """
    asked = 0
    left: Sequence[BrokerOrder] | None = None
    pauses = doubling(patience.first_pause_seconds, patience.longest_pause_seconds)
    while True:
        wait = next(pauses)
        try:
            left = [order for order in await broker.open_orders() if not keep(order)]
        except BrokerUnavailable as exc:
            tell(f"broker does not answer, trying again: {exc}")
            await unlisted.ask()
        else:
            if not left:
                return left
            if len(left) != asked:
                tell(f"canceling {len(left)} open orders")
                asked = len(left)
            wait = max(wait, await _ask(broker, left, at_once=patience.at_once, tell=tell))
        if clock.monotonic() + wait >= until:
            return left
        await clock.sleep(wait)


async def _ask(broker: Broker, orders: Sequence[BrokerOrder], *, at_once: int, tell: Tell) -> float:
    """Send one cancel for each order; return how long the broker wants us to pause."""
    pauses = [0.0]

    async def ask(order: BrokerOrder) -> None:
        try:
            await broker.cancel(order.broker_order_id)
        except RateLimited as exc:
            pauses.append(retry_after(exc.retry_after_seconds))
        except AuthRefused:
            raise
        except BrokerError:
            # Refused means already terminal or being canceled; unknown means unknown.
            # Either way the next read of the open orders tells.
            return
        except Exception as exc:  # noqa: BLE001 - a bug at one cancel must not keep the others
            tell(f"{order.symbol}: no clear answer to a cancel, looking it up: {exc}")

    # Asking again while a cancel is pending is refused; it is still worth one request a
    # round, because a pending cancel that the broker lost would otherwise hang for ever.
    pending_last = sorted(orders, key=lambda order: order.state is OrderState.CANCELING)
    await each(pending_last, ask, at_most=at_once)
    return max(pauses)
