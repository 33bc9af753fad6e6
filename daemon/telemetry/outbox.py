"""What waits for the message broker: one message a topic, the newest, and a bound on all."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MOST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to publish."""

    topic: str
    payload: bytes
    is_retained: bool = False


class Outbox:
    """Newest wins: a broker that is away for a day costs memory for one message a topic."""

    def __init__(self, *, dropped: Callable[[], None], most: int = _MOST) -> None:
        self._waiting: OrderedDict[str, Message] = OrderedDict()
        self._some = asyncio.Event()
        self._dropped = dropped
        self._most = most

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message, *, key: str | None = None) -> None:
        """Queue a message; an older one with its key is replaced.

        Args:
            message: what to publish.
            key: the topic by default; something unique for what must not replace.
        """
        key = key or message.topic
        if self._waiting.pop(key, None) is not None:
            self._dropped()
        elif len(self._waiting) >= self._most:
            self._waiting.popitem(last=False)
            self._dropped()
        self._waiting[key] = message
        self._some.set()

    async def take(self) -> tuple[str, Message]:
        """Wait for the oldest message and take it out."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return self._waiting.popitem(last=False)

    def give_back(self, key: str, message: Message) -> None:
        """Put a message that did not leave back to the front, unless a newer one waits."""
        if key in self._waiting:
            self._dropped()
            return
        self._waiting[key] = message
        self._waiting.move_to_end(key, last=False)
        self._some.set()
