"""What faults do to the trade stream."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from brokers.paper_server.faults import FaultBox, FaultKind
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
        if is_fill and (fault := self._faults.strike(FaultKind.DROP_STREAM)) is not None:
            self._drop(float(max(fault.seconds, Decimal(0))))
            return ()
        if self._faults.strike(FaultKind.MUTE_STREAM):
            self._mute()
            return ()
        if is_fill and self._faults.strike(FaultKind.LOSE_EVENT):
            return ()
        messages: list[Any] = [message]
        if self._faults.strike(FaultKind.DUPLICATE_EVENT):
            messages.append(message)
        if self._faults.strike(FaultKind.UNKNOWN_EVENT):
            messages.append(_unknown(message))
        if self._faults.strike(FaultKind.GARBAGE_FRAME):
            messages.append("<html>")
        return self._reordered(messages)

    def _reordered(self, messages: list[Any]) -> Sequence[Any]:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return [*messages, kept]
        if self._faults.strike(FaultKind.REORDER):
            self._kept = messages.pop(0)
        return messages


def _unknown(message: Json) -> Json:
    data = message["data"]
    order = data["order"] | {"status": "pondering"}
    return message | {"data": data | {"event": "pondered", "order": order}}
