"""The stages of a kill after the latch, each bounded by the deadline.

A stage that fails is reported and does not stop the next one: the broker-side lock and
the last look are worth having after a cancel that stuck.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from brokers.base import Broker
from domain.account import Position
from domain.clock import Clock
from domain.errors import AuthRefused, BrokerUnavailable, StateError
from domain.orders import BrokerOrder
from execution.account_switches import AccountSwitches, ShortingBan
from execution.cancel_all import Tell, cancel_all
from execution.closing_notes import ClosingNotes
from execution.flatten import Flattener
from execution.flatten_scope import FlattenScope, is_done, read_scope
from execution.kill_report import KillReport, KillSettings, Proof
from execution.unlisted import Unlisted
from execution.waiting import doubling
from state.latch import Latch
from state.latch_record import KillAction

_AGREEING_LOOKS = 2
_OVERTAKEN = "a kill that closes positions was asked for meanwhile: this one goes on as that"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look at the broker; ``is_locked`` is its lock on new orders, where that was set."""

    orders: Sequence[BrokerOrder]
    positions: Sequence[Position]
    is_locked: bool


class KillStages:
    """One run of the stages."""

    def __init__(
        self,
        broker: Broker,
        latch: Latch,
        clock: Clock,
        tell: Tell,
        settings: KillSettings,
    ) -> None:
        self._broker = broker
        self._latch = latch
        self._clock = clock
        self._tell = tell
        self._settings = settings
        self._patience = settings.patience
        self._switches = AccountSwitches(broker, latch, clock, patience=self._patience, tell=tell)
        self._unlisted = Unlisted(broker, clock, keeps_nothing=self._keeps_nothing, tell=tell)
        self._ban_seconds = settings.deadline_seconds * settings.ban_share
        self._started = clock.monotonic()
        self._asked_before: KillAction | None = None
        self._scope: FlattenScope | None = None
        self._is_flatten = False
        self._is_closing = False
        self._problems: list[str] = []
        self._locked: bool | None = False
        """The broker's lock on new orders as last read back; None where it has none."""

    async def run(self, action: KillAction, problems: Sequence[str] = ()) -> KillReport:
        """Cancel, flatten, lock and verify; never raises for what the broker does.

        Where a kill that closes positions is asked for while this one only cancels, it goes on
        as that one, which may be dead by then: what the other sends is not to be canceled.
        """
        self._asked_before = self._latch.read().asked
        report = await self._run(action, problems, since=self._started)
        if report.verified or not self._is_overtaken():
            return report
        self._tell(_OVERTAKEN)
        return await self._run(KillAction.FLATTEN, problems, since=self._clock.monotonic())

    async def _run(
        self, action: KillAction, problems: Sequence[str], *, since: float
    ) -> KillReport:
        self._problems = list(problems)
        self._until = since + self._settings.deadline_seconds
        cancel_until = since + self._settings.deadline_seconds * self._settings.cancel_share
        is_flatten = self._is_flatten = action is KillAction.FLATTEN
        look: _Look | None = None
        is_proved = False
        try:
            if is_flatten:
                await self._read_scope(until=since)
            await self._cancel(until=cancel_until if is_flatten else self._until)
            if is_flatten:
                await self._flatten()
            await self._lock()
            look, is_proved = await self._verify(is_flatten=is_flatten)
        except AuthRefused as exc:
            self._note(f"the broker refused the keys: {exc}")
        is_verified = is_proved and self._locked is not False
        if is_verified:
            self._complete(action, is_broker_locked=self._locked is True)
        return self._report(is_flatten, look, is_proved, is_verified)

    def _note(self, problem: str) -> None:
        self._problems.append(problem)
        self._tell(problem)

    def _is_overtaken(self) -> bool:
        """Tell whether a kill that closes positions was asked for since this plain one began."""
        if self._is_flatten or self._asked_before is KillAction.FLATTEN:
            return False
        now = self._latch.read()
        return now.is_engaged and now.asked is KillAction.FLATTEN

    def _keeps(self, order: BrokerOrder) -> bool:
        if self._is_overtaken():
            return True
        return self._scope is not None and self._scope.is_flattening(order)

    def _keeps_nothing(self) -> bool:
        """Tell whether no order that may be open shall stay, without a look at them."""
        if not self._is_flatten:
            return not self._is_overtaken()
        state = self._latch.read()
        # Every kill that closes positions counts itself there before its first closing order.
        return not self._is_closing and state.sequence > 0 and state.closings == 0

    async def _read_scope(self, *, until: float) -> None:
        pauses = doubling(self._patience.first_pause_seconds, self._patience.longest_pause_seconds)
        while self._scope is None:
            try:
                self._scope = await read_scope(self._broker, self._clock)
            except BrokerUnavailable as exc:
                self._tell(f"broker does not answer, trying again: {exc}")
                wait = next(pauses)
                if self._clock.monotonic() + wait >= until:
                    return
                await self._clock.sleep(wait)

    async def _cancel(self, *, until: float) -> None:
        left = await cancel_all(
            self._broker,
            self._clock,
            keep=self._keeps,
            unlisted=self._unlisted,
            until=until,
            patience=self._patience,
            tell=self._tell,
        )
        if self._is_overtaken():
            return
        if left is None:
            self._note(self._unlisted.problem)
        elif left:
            names = ", ".join(f"{order.symbol} {order.raw_status}" for order in left[:5])
            self._note(f"{len(left)} orders are still open: {names}")
        else:
            self._tell("no open order is left")

    async def _flatten(self) -> None:
        await self._read_scope(until=self._until)
        if self._scope is None:
            self._note("positions were not closed: the broker does not answer")
            return
        flattener = Flattener(
            self._broker,
            self._clock,
            self._scope,
            prepare=self._prepare,
            notes=ClosingNotes(self._latch, self._clock, broker_epoch=self._scope.broker_epoch),
            patience=self._patience,
            tell=self._tell,
        )
        await flattener.run(until=self._until)
        for symbol, problem in sorted({**flattener.problems, **flattener.unanswered()}.items()):
            self._note(f"{symbol}: {problem}")

    async def _prepare(self) -> ShortingBan:
        """Make ready for closing orders, once it is known that some are needed."""
        self._is_closing = True
        until = min(self._until, self._clock.monotonic() + self._ban_seconds)
        ban = await self._switches.forbid_shorting(until=until)
        if ban.problem:
            self._note(ban.problem)
        if self._scope is not None and self._scope.is_locked:
            # A lock from an earlier kill would refuse the closing orders too.
            await self._set_lock(is_locked=False)
        return ban

    async def _lock(self) -> None:
        if self._is_overtaken():
            # It would refuse the closing orders of the other.
            return
        self._locked = await self._set_lock(is_locked=True)
        if self._locked is None:
            self._tell("the account has no broker-side lock")
        elif self._locked:
            self._tell("the broker's lock on new orders is set")
        else:
            self._note("the broker's lock on new orders could not be set")

    async def _set_lock(self, *, is_locked: bool) -> bool | None:
        return await self._switches.lock(is_locked=is_locked, until=self._until)

    async def _verify(self, *, is_flatten: bool) -> tuple[_Look | None, bool]:
        """Look until two looks in a row agree that it is done, or time is up."""
        look: _Look | None = None
        agreeing = 0
        while True:
            try:
                look = await self._look()
            except BrokerUnavailable as exc:
                self._tell(f"broker does not answer, trying again: {exc}")
                agreeing = 0
            else:
                agreeing = agreeing + 1 if self._is_done(look, is_flatten=is_flatten) else 0
            if self._is_overtaken():
                return look, False
            if agreeing == _AGREEING_LOOKS:
                return look, True
            if agreeing == 0:
                if self._clock.monotonic() >= self._until:
                    if self._locked and look is not None:
                        self._locked = look.is_locked
                    return look, False
                await self._see_to_late(look)
            await self._clock.sleep(self._patience.settle_seconds)

    async def _look(self) -> _Look:
        return _Look(
            orders=await self._open_orders(),
            positions=[p for p in await self._broker.positions() if p.quantity != 0],
            # Last: from here to the end nothing may come between.
            is_locked=bool(self._locked) and (await self._broker.account()).is_suspended_by_user,
        )

    async def _open_orders(self) -> Sequence[BrokerOrder]:
        try:
            return await self._broker.open_orders()
        except BrokerUnavailable:
            # What was on its way when the latch closed may work, and nobody sees it.
            await self._unlisted.ask()
            raise

    async def _see_to_late(self, look: _Look | None) -> None:
        if look is None:
            return
        if self._locked and not look.is_locked:
            # Another kill that closes positions opens it, and may be dead by now.
            self._tell("the broker's lock on new orders was cleared meanwhile")
            await self._lock()
        if any(not self._keeps(order) for order in look.orders):
            # An order that was on its way when the latch closed shows up only now.
            await self._cancel(until=self._clock.monotonic())

    def _is_done(self, look: _Look, *, is_flatten: bool) -> bool:
        if any(not self._keeps(order) for order in look.orders):
            return False
        if self._locked and not look.is_locked:
            return False
        if not is_flatten:
            return True
        return self._scope is not None and is_done(self._scope, look.positions, look.orders)

    def _complete(self, action: KillAction, *, is_broker_locked: bool) -> None:
        try:
            self._latch.complete(action, self._clock.now(), is_broker_locked=is_broker_locked)
        except (StateError, OSError) as exc:
            self._note(f"the latch could not note that the kill is complete: {exc}")

    def _report(
        self,
        is_flatten: bool,
        look: _Look | None,
        is_proved: bool,
        is_verified: bool,
    ) -> KillReport:
        report = KillReport(
            latched=self._latch.holds(),
            open_orders=None if look is None else len(look.orders),
            positions=None if look is None else len(look.positions),
            verified=is_verified,
            elapsed_seconds=self._clock.monotonic() - self._started,
            proof=_proof(is_flatten, look, is_proved),
            suspended=self._locked,
            problems=tuple(self._problems),
        )
        self._tell(f"{report.proof.value} after {report.elapsed_seconds:.1f} s")
        return report


def _proof(is_flatten: bool, look: _Look | None, is_proved: bool) -> Proof:
    if not is_flatten:
        return Proof.CANCELED if is_proved else Proof.NOT_CANCELED
    if not is_proved or look is None:
        return Proof.NOT_FLAT
    return Proof.QUEUED_FOR_OPEN if look.positions else Proof.FLAT
