"""Evidence about orders with no clear answer: only what the broker shows ends the doubt.

One miss proves nothing (a fresh order may be invisible for a while); absence needs
several misses spread over minutes.  Counted in memory: after a restart it starts anew.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto, unique

from domain.errors import AuthRefused, BrokerUnavailable
from domain.ids import ClientOrderId
from execution.books import Books
from execution.desk import Desk


@unique
class Sight(Enum):
    """What one look by id showed."""

    FOUND = auto()
    NOT_YET = auto()  # absent, but that is no proof yet
    ABSENT = auto()  # absent often and long enough
    NO_ANSWER = auto()


@dataclass(slots=True)
class _Misses:
    count: int
    since: float


class Evidence:
    """Looks orders up and remembers the misses."""

    def __init__(self, desk: Desk, books: Books) -> None:
        self._desk = desk
        self._books = books
        self._misses: dict[ClientOrderId, _Misses] = {}
        self._counts: Counter[ClientOrderId] = Counter()

    async def look(self, client_order_id: ClientOrderId) -> Sight:
        """Read one order by our id, and take over what is found."""
        count = self._counts[client_order_id]
        try:
            order = await self._desk.broker.find_order(client_order_id)
        except (BrokerUnavailable, AuthRefused):
            return Sight.NO_ANSWER
        if order is not None:
            self.forget(client_order_id)
            self._books.merge_order(order)
            return Sight.FOUND
        if self._counts[client_order_id] != count:
            # It left again while this look was on its way: what was read may be from before.
            return Sight.NOT_YET
        return self._miss(client_order_id)

    def forget(self, client_order_id: ClientOrderId) -> None:
        """Start counting anew, as after sending the same id again."""
        self._counts[client_order_id] += 1
        self._misses.pop(client_order_id, None)

    def _miss(self, client_order_id: ClientOrderId) -> Sight:
        now = self._desk.clock.monotonic()
        misses = self._misses.setdefault(client_order_id, _Misses(0, now))
        misses.count += 1
        settings = self._desk.settings
        is_proof = (
            misses.count >= settings.absence_reads
            and now - misses.since >= settings.absence_seconds
        )
        return Sight.ABSENT if is_proof else Sight.NOT_YET
