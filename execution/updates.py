"""The trade stream into the books: every event once, in any order, the bad ones by a read.

The stream's callbacks only enqueue.  While the books are compared with the broker events
wait, and are merged afterwards: subscribe, read, then merge.
"""

import asyncio
import dataclasses
from collections import deque

from domain.errors import StorageError
from domain.ids import ClientOrderId, Symbol
from domain.money import ZERO
from domain.orders import TradeUpdate
from execution.books import Books
from execution.desk import Desk

LONGEST_QUEUE = 10_000
_BUST = "trade_bust"
_CORRECT = "trade_correct"
# After these the order itself may differ from what we asked for.
_READ_AFTER = frozenset({"restated", "order_cancel_rejected", "order_replace_rejected"})


class Updates:
    """A queue of trade updates; one bad event never stops the next."""

    def __init__(self, desk: Desk, books: Books) -> None:
        self._desk = desk
        self._books = books
        self._queue: deque[TradeUpdate | str] = deque()
        self._wants_reconcile = False
        self._holds = 0
        self._wake = asyncio.Event()
        self.unread: set[Symbol] = set()
        """Symbols disputed by what was merged since somebody began to read the positions."""

    def offer(self, update: TradeUpdate) -> None:
        """Take one event of the stream; synchronous and never raises."""
        self._enqueue(update)

    def offer_unreadable(self, frame: str) -> None:
        """Take a frame that could not be parsed: the orders it names are read instead."""
        self._enqueue(frame)

    def wish_reconcile(self) -> None:
        """Ask for a comparison with the broker, as after a lost connection."""
        self._wants_reconcile = True
        self._stir()

    def take_reconcile_wish(self) -> bool:
        """Tell, once, whether the broker must be read because events were lost."""
        wish, self._wants_reconcile = self._wants_reconcile, False
        return wish

    def hold(self) -> None:
        """Let events wait while the broker is read; nests."""
        self._holds += 1
        self._wake.clear()

    def release(self) -> None:
        """End a hold; what waits is merged next."""
        self._holds -= 1
        if self._queue or self._wants_reconcile:
            self._stir()

    async def wait(self) -> None:
        """Wait until there is something to merge and nobody holds it."""
        await self._wake.wait()

    def drain(self) -> int:
        """Apply everything that waits in one durable transaction; return how many.

        Raises:
            StorageError: nothing was applied; the events still wait, and trading halts.
        """
        items = list(self._queue)
        self._queue.clear()
        self._wake.clear()
        if not items:
            return 0
        try:
            with self._desk.store.transaction():
                for item in items:
                    self._apply_safely(item)
        except StorageError as exc:
            self._queue.extendleft(reversed(items))
            self._desk.halt(f"storage: {exc}")
            raise
        return len(items)

    def apply(self, update: TradeUpdate) -> None:
        """Merge one event, whole or not at all.

        Raises:
            OpenbellError: it cannot be merged, or the disk refused.
        """
        with self._desk.store.transaction():
            known_as = self._books.merge_order(update.order)
            if update.event in {_BUST, _CORRECT}:
                self._take_back(update, known_as)
            elif update.fill is not None:
                fill = dataclasses.replace(update.fill, client_order_id=known_as)
                self._books.book_fill(fill, origin="stream")
        if update.event in _READ_AFTER:
            self._books.to_read.add(update.order.broker_order_id)

    def _enqueue(self, item: TradeUpdate | str) -> None:
        if len(self._queue) >= LONGEST_QUEUE:
            # Reading the truth costs less than catching up with a flood.
            self._queue.clear()
            self._wants_reconcile = True
        self._queue.append(item)
        self._stir()

    def _stir(self) -> None:
        if self._holds == 0:
            self._wake.set()

    def _apply_safely(self, item: TradeUpdate | str) -> None:
        if isinstance(item, str):
            self._read_instead(item)
            return
        try:
            self.apply(item)
        except StorageError:
            raise
        except Exception as exc:  # noqa: BLE001 - a bug in one event must not deafen us
            self._books.to_read.add(item.order.broker_order_id)
            text = f"{item.order.symbol}: {item.event} could not be merged ({exc!r}): {item}"
            self._desk.note("stream.dead_letter", text, item.order.symbol)
            self._desk.operated(text)
        else:
            self._desk.operated()

    def _read_instead(self, frame: str) -> None:
        """Have the orders that an unreadable frame names read by REST, or everything."""
        named = [
            record.broker_order_id
            for record in self._desk.journal.working()
            if record.broker_order_id is not None
            and (record.broker_order_id in frame or record.client_order_id in frame)
        ]
        self._books.to_read.update(named)
        self._wants_reconcile = self._wants_reconcile or not named
        self._desk.note("stream.unreadable", frame[:500])

    def _take_back(self, update: TradeUpdate, known_as: ClientOrderId) -> None:
        previous = update.previous_execution_id
        symbol = update.order.symbol
        is_booked = False
        if previous is not None and update.event == _BUST:
            is_booked = self._desk.ledger.bust_fill(previous, at=update.at, reason="trade bust")
        elif previous is not None and update.fill is not None:
            fill = dataclasses.replace(update.fill, client_order_id=known_as)
            is_booked = self._desk.ledger.correct_fill(previous, fill, reason="trade correction")
        text = f"{symbol}: {update.event} of execution {previous}"
        self._desk.note("fill.taken_back", text, symbol)
        if not is_booked:
            # Not ours to guess what it changed: no exit until the positions were compared, and
            # exits only until they agree.
            self._desk.lock(symbol, f"{update.event} of an execution that is not booked")
            self._desk.disputed[symbol] = ZERO
            self.unread.add(symbol)
            self._wants_reconcile = True
            return
        self._books.check_unplanned(symbol, update.order.filled_avg_price)
