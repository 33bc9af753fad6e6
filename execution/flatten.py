"""Close every position with our own market orders, each with a derived id.

The ids make it safe to start again after a crash or a lost answer: an order is sent only
when its id is unknown to the broker, and the next number is used only when the one
before is terminal.

An order that was never answered may still arrive, when its shares are long sold.  So the
broker is asked to forbid short sales before the first sale: from then on it refuses what
is too much, whichever order comes first, and each doubt and each kill takes ids of its
own.  Where that is not to be had, and for buys, nothing is written again before what was
written must have arrived: longer than a kill takes, so a later one does it.
Needs the broker and a clock, no database.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.base import Broker
from domain.account import Position
from domain.clock import Clock
from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    DuplicateOrder,
    NotSent,
    OrderRejected,
    RateLimited,
)
from domain.ids import ClientOrderId, Symbol
from domain.orders import BrokerOrder, OrderRequest, OrderType, Side, TimeInForce
from execution.account_switches import ShortingBan
from execution.cancel_all import Patience, Tell
from execution.closing_notes import LOST_AFTER_SECONDS, ClosingNotes
from execution.flatten_scope import (
    LEG,
    MOST_CLOSINGS,
    MOST_REVISIONS,
    STRATEGY,
    FlattenScope,
    is_done,
)
from execution.waiting import doubling, each, retry_after

_PURCHASES = MOST_CLOSINGS - 1
_UNGUARDED_SALES = MOST_CLOSINGS - 2
_ABSENT_READS = 3
_ABSENT_SECONDS = 15.0
_LONGEST_REFUSED_SECONDS = 8.0

Prepare = Callable[[], Awaitable[ShortingBan]]
"""Makes the account ready for closing orders, and asks it to forbid short sales."""


@dataclass(slots=True)
class _Attempt:
    """What this process knows of its orders for one symbol."""

    revision: int
    last_revision: int
    sent_at_quantity: Decimal | None = None
    is_taken: bool = False
    unknown_since: float | None = None
    absent_reads: int = 0
    refusals: int = 0
    quiet_until: float = 0.0

    @property
    def is_pending(self) -> bool:
        """True while nobody knows what became of the last order."""
        return self.is_taken or self.unknown_since is not None


class Flattener:
    """Rounds: read orders and positions, see to each symbol, pause; until flat or out of time."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        scope: FlattenScope,
        *,
        prepare: Prepare,
        notes: ClosingNotes,
        patience: Patience,
        tell: Tell,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._scope = scope
        self._patience = patience
        self._tell = tell
        self._prepare = prepare
        self._notes = notes
        self._ban: ShortingBan | None = None
        self._attempts: dict[Symbol, dict[int, _Attempt]] = {}
        self._waiting: dict[Symbol, float] = {}
        self.problems: dict[Symbol, str] = {}

    def unanswered(self) -> dict[Symbol, str]:
        """Say of each position that was left because its closing order may still arrive."""
        now = self._clock.monotonic()
        return {
            symbol: (
                "a closing order got no answer and may still arrive; look at the account, then run"
                f" `openbell kill --flatten` again in {max(math.ceil(until - now), 0)} s"
            )
            for symbol, until in sorted(self._waiting.items())
        }

    async def run(self, *, until: float) -> None:
        """Try until no position is left, all are queued for the open, or ``until``.

        Raises:
            AuthRefused: the keys were refused.
        """
        pauses = doubling(self._patience.settle_seconds, self._patience.longest_pause_seconds)
        while True:
            wait = next(pauses)
            try:
                # In this order: what fills in between is still open here, or off the holding.
                working = await self._broker.open_orders()
                positions = [p for p in await self._broker.positions() if p.quantity != 0]
                self._waiting.clear()
                if is_done(self._scope, positions, working):
                    return
                if self._ban is None:
                    # That takes time: what follows acts on positions of then.
                    self._ban = await self._prepare()
                    continue
                wait = max(wait, await self._round(positions, working, self._ban))
            except BrokerUnavailable as exc:
                self._tell(f"broker does not answer, trying again: {exc}")
            if self._clock.monotonic() + wait >= until:
                return
            await self._clock.sleep(wait)

    async def _round(
        self, positions: Sequence[Position], working: Sequence[BrokerOrder], ban: ShortingBan
    ) -> float:
        # An open order reserves the quantity, or will change it: wait for its end.
        busy = {order.symbol for order in working}
        free = [held for held in positions if held.symbol not in busy]
        pauses = [0.0]

        async def see_to(position: Position) -> None:
            try:
                pauses.append(await self._see_to(position, ban))
            except BrokerUnavailable as exc:
                # The others go on: what they wrote is on the wire.
                self._tell(f"{position.symbol}: no answer, trying again: {exc}")

        in_order = sorted(free, key=lambda held: held.symbol)
        await each(in_order, see_to, at_most=self._patience.at_once)
        return max(pauses)

    async def _see_to(self, position: Position, ban: ShortingBan) -> float:
        is_guarded = ban.is_set and position.quantity > 0
        symbol = position.symbol
        attempt = self._attempt(position, ban)
        if attempt.revision > attempt.last_revision:
            self.problems.setdefault(symbol, f"{MOST_REVISIONS} orders did not close it")
            return 0.0
        if self._clock.monotonic() < attempt.quiet_until:
            return 0.0
        order_id = self._scope.order_id(symbol, attempt.revision)
        found = await self._broker.find_order(order_id)
        if found is not None:
            self._note_found(attempt, found, position)
            return 0.0
        if not is_guarded and not attempt.is_taken and attempt.unknown_since is None:
            attempt.unknown_since = self._notes.others_wrote()
        if not self._may_send(attempt, is_guarded=is_guarded):
            if not is_guarded and attempt.unknown_since is not None:
                self._waiting[symbol] = attempt.unknown_since + LOST_AFTER_SECONDS
            return 0.0
        if is_guarded and attempt.unknown_since is not None:
            # A twin under the same id could be taken beside one that ended before.
            attempt.revision += 1
            attempt.unknown_since = None
            return 0.0
        if not is_guarded and (problem := self._notes.note()):
            self.problems[symbol] = problem
        return await self._send(attempt, self._request(order_id, attempt.revision, position))

    def _attempt(self, position: Position, ban: ShortingBan) -> _Attempt:
        """Return what goes on: the order that is in doubt, else that of the position's side."""
        known = self._attempts.setdefault(position.symbol, {})
        for one in known.values():
            if one.is_pending:
                return one
        first = _turn(position, ban) * MOST_REVISIONS
        last = first + MOST_REVISIONS - 1
        return known.setdefault(first, _Attempt(revision=first, last_revision=last))

    def _note_found(self, attempt: _Attempt, found: BrokerOrder, position: Position) -> None:
        attempt.unknown_since = None
        attempt.absent_reads = 0
        if not found.state.is_terminal:
            return
        # Positions may lag behind fills; selling on an old figure would sell twice.
        is_old_figure = found.filled_quantity > 0 and position.quantity == attempt.sent_at_quantity
        attempt.sent_at_quantity = None
        if not is_old_figure:
            attempt.revision += 1
            attempt.is_taken = False

    def _may_send(self, attempt: _Attempt, *, is_guarded: bool) -> bool:
        if attempt.is_taken:
            # However long it is not shown: to be absent proves nothing about what was taken.
            return False
        if attempt.unknown_since is None:
            return True
        attempt.absent_reads += 1
        waited = self._clock.monotonic() - attempt.unknown_since
        # Without the ban only time tells an order that is late from one that is lost.
        patience = _ABSENT_SECONDS if is_guarded else LOST_AFTER_SECONDS
        return attempt.absent_reads >= _ABSENT_READS and waited >= patience

    async def _send(self, attempt: _Attempt, request: OrderRequest) -> float:
        attempt.sent_at_quantity = -request.quantity * request.side.sign
        attempt.absent_reads = 0
        # In doubt from here on, also where this is canceled; only an answer ends that.
        attempt.unknown_since = self._clock.monotonic()
        self._tell(f"{request.side.value} {request.quantity} {request.symbol} at market")
        try:
            await self._broker.submit(request, guard=_always)
        except NotSent:
            # Never written: the next round sends it again.
            attempt.unknown_since = None
        except RateLimited as exc:
            attempt.unknown_since = None
            return retry_after(exc.retry_after_seconds)
        except AuthRefused:
            raise
        except OrderRejected as exc:
            self._note_refused(attempt, request.symbol, exc)
        except DuplicateOrder:
            attempt.unknown_since = self._clock.monotonic()
        except Exception as exc:  # noqa: BLE001 - a bug at one order must not orphan the others
            attempt.unknown_since = self._clock.monotonic()
            self._tell(f"{request.symbol}: no clear answer, looking it up: {exc}")
        else:
            attempt.unknown_since = None
            attempt.is_taken = True
        return 0.0

    def _note_refused(self, attempt: _Attempt, symbol: Symbol, why: OrderRejected) -> None:
        attempt.unknown_since = None
        self.problems[symbol] = str(why)
        self._tell(f"{symbol} was refused: {why}")
        # An order that is not shown yet may hold the shares: leave it time to show.
        pause = self._patience.settle_seconds * 2.0**attempt.refusals
        attempt.quiet_until = self._clock.monotonic() + min(pause, _LONGEST_REFUSED_SECONDS)
        attempt.refusals += 1
        attempt.revision += 1

    def _request(self, order_id: ClientOrderId, revision: int, position: Position) -> OrderRequest:
        return OrderRequest(
            client_order_id=order_id,
            strategy=STRATEGY,
            session_date=self._scope.session_date,
            symbol=position.symbol,
            side=Side.SELL if position.quantity > 0 else Side.BUY,
            quantity=abs(position.quantity),
            order_type=OrderType.MARKET,
            limit_price=None,
            time_in_force=TimeInForce.DAY,
            leg=LEG,
            revision=revision,
            decision_price=position.market_price or position.avg_entry_price,
            reason="kill --flatten",
        )


def _turn(position: Position, ban: ShortingBan) -> int:
    """Return which ids close a position: no two orders that are not the same may share one.

    Each kill has its own for sales under the ban.  What no ban covers goes by the ids of the
    kill before, by which the broker may refuse a late one; a purchase not by those of a sale.
    """
    if position.quantity < 0:
        return _PURCHASES
    return min(ban.closing, _UNGUARDED_SALES - 1) if ban.is_set else _UNGUARDED_SALES


def _always() -> None:
    """Let the write go: the latch is engaged, and this order only lowers exposure."""
