"""The last count before the wire, kept apart from the order path so that its bugs show here.

The HTTP client asks it in the section that writes.  It reads nothing but the request
itself and the latch file, and whoever breaks a rule of it is not told but ended.
"""

import datetime as dt
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from domain.clock import Clock
from domain.errors import SendRefused

_ORDERS = "/v2/orders"
_CONFIGURATION = "/v2/account/configurations"
_FLATTENING = "-flatten-"
_MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressBounds:
    """What no sound order path can reach.  A day is one of UTC: no session crosses midnight."""

    orders_per_day: int
    writes_per_order: int = 16

    @property
    def writes_per_minute(self) -> int:
        """Every order of a day, each sent twice, and some room for a small day."""
        return 2 * self.orders_per_day + 60


class EgressCounter:
    """Counts the writes that can raise exposure, and ends the process at a broken rule.

    ``abort`` is told the reason and does not return.
    """

    def __init__(
        self,
        bounds: EgressBounds,
        *,
        is_latched: Callable[[], bool],
        clock: Clock,
        abort: Callable[[str], NoReturn],
    ) -> None:
        self._bounds = bounds
        self._is_latched = is_latched
        self._clock = clock
        self._abort = abort
        self._was_latched = False
        self._minute: deque[float] = deque()
        self._day: dt.date | None = None
        self._writes: Counter[str] = Counter()

    def __call__(self, method: str, path: str, body: bytes | None) -> None:
        """Let one request leave.

        Raises:
            SendRefused: the latch closed between the order path's look and this one.
        """
        if method == "GET":
            return
        was_latched, self._was_latched = self._was_latched, self._is_latched()
        if _lowers_risk(method, path, body):
            return
        if not self._was_latched:
            self._count(_order_id(body))
        elif was_latched:
            # One look too early is a race; a second one is nobody looking at all.
            self._abort(f"{method} {path} while the kill latch is engaged")
        else:
            raise SendRefused("the kill latch was engaged a moment ago")

    def _count(self, order_id: str) -> None:
        now, today = self._clock.monotonic(), self._clock.now().date()
        if today != self._day:
            self._day = today
            self._writes.clear()
        while self._minute and self._minute[0] <= now - _MINUTE_SECONDS:
            self._minute.popleft()
        self._minute.append(now)
        self._writes[order_id] += 1
        bounds = self._bounds
        if len(self._minute) > bounds.writes_per_minute:
            self._abort(f"more than {bounds.writes_per_minute} order requests in a minute")
        if len(self._writes) > bounds.orders_per_day:
            self._abort(f"more than {bounds.orders_per_day} different orders in a day")
        if self._writes[order_id] > bounds.writes_per_order:
            self._abort(f"order {order_id} more than {bounds.writes_per_order} times")


def _lowers_risk(method: str, path: str, body: bytes | None) -> bool:
    """Tell whether a write may leave at any time: a cancel, the lock, a closing order of a kill."""
    if method == "DELETE" or (method == "PATCH" and path == _CONFIGURATION):
        return True
    order = _order(body)
    return (
        (method, path) == ("POST", _ORDERS)
        and _FLATTENING in str(order.get("client_order_id"))
        and order.get("type") == "market"
    )


def _order_id(body: bytes | None) -> str:
    return str(_order(body).get("client_order_id"))


def _order(body: bytes | None) -> dict[str, object]:
    try:
        found = json.loads(body or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
