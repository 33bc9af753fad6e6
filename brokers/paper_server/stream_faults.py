"""What faults do to the trade stream."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from brokers.paper_server.faults import Fault, FaultBox, FaultKind
from brokers.paper_server.wire import Json

Drop = Callable[[float], None]
"""Breaks every connection and refuses new ones for some seconds."""

_FILLS = ("fill", "partial_fill")


class StreamFaults:
    """Turns each message of the stream into those that are really sent."""

    def __init__(self, faults: FaultBox, *, drop: Drop, mute: Callable[[], None]) -> None:
        self._faults = faults
        self._drop = drop
        self._mute = mute
        self._kept: Json | None = None

    def intercept(self, message: Json) -> Sequence[Json]:
        """Return what is sent instead of a message."""
        is_fill = message["data"]["event"] in _FILLS
        if is_fill and (fault := self._strike(FaultKind.DROP_STREAM, message)) is not None:
            self._drop(float(max(fault.seconds, Decimal(0))))
            return ()
        if self._strike(FaultKind.MUTE_STREAM, message):
            self._mute()
            return ()
        if is_fill and self._strike(FaultKind.LOSE_EVENT, message):
            return ()
        messages: list[Any] = [message]
        if self._strike(FaultKind.DUPLICATE_EVENT, message):
            messages.append(message)
        if self._strike(FaultKind.UNKNOWN_EVENT, message):
            messages.append(_unknown(message))
        if self._strike(FaultKind.GARBAGE_FRAME, message):
            messages.append("<html>")
        return self._reordered(message, messages)

    def _strike(self, kind: FaultKind, message: Json) -> Fault | None:
        order = message["data"]["order"]
        return self._faults.strike(kind, text=f"{order['symbol']} {order['client_order_id']}")

    def _reordered(self, message: Json, messages: list[Any]) -> Sequence[Any]:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return [*messages, kept]
        if self._strike(FaultKind.REORDER, message):
            self._kept = messages.pop(0)
        return messages


def _unknown(message: Json) -> Json:
    data = message["data"]
    order = data["order"] | {"status": "pondering"}
    return message | {"data": data | {"event": "pondered", "order": order}}
