"""Reconcile: our books against the broker's, over the union of both.

A difference is believed when two readings in a row show the same one.  Then the symbol is
locked to exits and everybody is told; it unlocks by itself once the books agree again, or
when a person adopts the broker's holding by a named entry.
"""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence

from domain.account import Account
from domain.errors import AuthRefused, BrokerUnavailable, StateError
from domain.ids import Symbol
from domain.money import ZERO
from execution.broker_view import BrokerView, Reading, usable
from execution.comparing import Break, BreakKind, ReconcileReport, by_symbol, is_doubtful
from execution.desk import Desk
from execution.orders import OrderPath
from state.facts import Facts
from state.locks import LIMIT_LOCK, MANUAL_LOCK
from state.risk_state import RiskState

_COMPARED_AT = "reconciled_at"
_MOST_READINGS = 4
_CLEAN_RUNS_AFTER_REGRESSION = 2
# What may differ while cash is adopted: a total that fell is what such cash may come of.
_BESIDE_CASH = frozenset({BreakKind.CASH, BreakKind.REGRESSION})


class Reconciler:
    """Compares, locks and unlocks.  One comparison at a time."""

    def __init__(self, desk: Desk, path: OrderPath) -> None:
        self._desk = desk
        self._path = path
        self._view = BrokerView(desk, path)
        self._facts = Facts(desk.store)
        self._turn = asyncio.Lock()
        self._read_until: dt.datetime | None = None
        self._looked_back_at: float | None = None
        self._clean_runs_needed: dict[Symbol, int] = {}
        self._far_back: set[Symbol] = set()
        self.last: ReconcileReport | None = None

    async def run(self, reason: str, *, is_deep: bool = False) -> ReconcileReport:
        """Compare with the broker now.

        Args:
            reason: why, for the report: ``start``, ``stream``, ``periodic``, ``run`` ...
            is_deep: read orders and activities of the whole backfill window before the last
                comparison, as at a start; otherwise from that comparison on, with overlap.

        Raises:
            BrokerUnavailable, AuthRefused: nothing could be compared; locks stay as they are.
        """
        async with self._turn:
            self._path.updates.hold()
            try:
                report = await self._run(reason, is_deep=is_deep)
            except AuthRefused as exc:
                self._desk.halt(f"auth: the broker refused the keys: {exc}")
                raise
            finally:
                self._path.updates.release()
        await self._path.follow_up()
        return report

    async def adopt(self, symbol: Symbol, reason: str) -> ReconcileReport:
        """Take the broker's holding of one symbol into the ledger by a named entry.

        What moved shares until the holding was read is in it, and moves none when it is told
        later.  "Until" is by the broker's clock, which dates executions; ours may be wrong.
        No limit was asked before shares came so: a holding that grew beyond one stays locked.

        Raises:
            StateError: executions are still missing, which will explain the difference, or
                the list of positions is empty against the equity.
            BrokerUnavailable, AuthRefused: the holding could not be read.
        """
        if any(record.symbol == symbol for record in self._desk.journal.incomplete()):
            raise StateError(
                f"{symbol} has executions that are not booked yet; wait for the next reconcile"
            )
        as_of = (await self._desk.broker.clock()).now
        held = {found.symbol: found for found in await self._desk.broker.positions()}
        if is_doubtful(by_symbol(list(held.values())), await self._desk.broker.account()):
            raise StateError(
                "the broker lists no position, yet its equity holds shares; adopt when it does"
            )
        position = held.get(symbol)
        quantity = position.quantity if position is not None else ZERO
        price = position.avg_entry_price if position is not None else ZERO
        added = self._desk.ledger.adopt_position(symbol, quantity, price, reason, as_of=as_of)
        self._far_back.discard(symbol)
        self._clean_runs_needed.pop(symbol, None)
        self._desk.note("position.adopted", f"{symbol}: {added} shares adopted: {reason}", symbol)
        if added * quantity > ZERO:
            self._path.books.check_unplanned(symbol, None)
        return await self.run("adopt")

    async def adopt_cash(self, reason: str) -> ReconcileReport:
        """Take the broker's cash into the ledger by a named entry, once the shares agree.

        It is no flow: an execution that was taken back and that nobody heard of left it.

        Raises:
            StateError: shares or executions differ, which will explain the cash or come first.
            BrokerUnavailable, AuthRefused: the account could not be read, or two readings of
                its cash differ.
        """
        report = await self.run("adopt", is_deep=True)
        if any(found.kind not in _BESIDE_CASH for found in report.breaks):
            raise StateError("shares or orders differ as well; cash is adopted when they agree")
        if not report.cash_residual:
            return report
        as_of, account = await self._cash_to_adopt()
        added = self._desk.ledger.adopt_cash(account.cash, reason, as_of=as_of)
        self._desk.note("cash.adopted", f"{added} USD adopted: {reason}")
        return await self.run("adopt")

    async def _run(self, reason: str, *, is_deep: bool) -> ReconcileReport:
        started = self._desk.clock.now()
        reading, is_deep = await self._agreeing(started, is_deep=is_deep)
        if self._compared_at() is None:
            reading = await self._open_books(reading)
        breaks = reading.breaks
        self._lock(reading, breaks)
        locked = self._desk.ledger.locks()
        if is_deep:
            self._far_back = self._beyond_overlap(breaks, started)
        # A list that is contradicted shows no agreement either.
        is_doubtful_list = is_doubtful(reading.theirs, reading.account)
        unlocked = () if is_doubtful_list else self._unlock(locked, breaks)
        if reading.account.is_trading_blocked:
            self._desk.halt("account: the broker has blocked trading in it")
        self._read_until = started
        finished = self._desk.clock.now()
        self._facts.put(**{_COMPARED_AT: finished.isoformat()})
        self.last = ReconcileReport(
            reason=reason,
            started_at=started,
            finished_at=finished,
            breaks=breaks,
            activities_booked=reading.activities_booked,
            locked=tuple(sorted(locked)),
            unlocked=unlocked,
            account=reading.account,
            held=reading.held,
            flows=RiskState(self._desk.store).flow_count(),
            open_orders=reading.open_orders,
            cash_residual=reading.account.cash - self._desk.ledger.cash(),
        )
        return self.last

    def _since(self, now: dt.datetime, *, is_deep: bool) -> dt.datetime:
        settings = self._desk.settings
        # A clock that went back was ahead before: what was dated meanwhile may be unread.
        if is_deep or self._read_until is None or now < self._read_until:
            # However long nobody compared: its executions come only from here.
            last = min(now, self._compared_at() or now)
            return last - dt.timedelta(seconds=settings.backfill_seconds)
        return self._read_until - dt.timedelta(seconds=settings.overlap_seconds)

    def _compared_at(self) -> dt.datetime | None:
        """The last comparison, also of a former process; None before the first."""
        told = self._facts.get(_COMPARED_AT)
        return dt.datetime.fromisoformat(told) if told is not None else None

    async def _agreeing(self, now: dt.datetime, *, is_deep: bool) -> tuple[Reading, bool]:
        """Read until two readings in a row show the same breaks, or enough is enough.

        Returns:
            The last reading, and whether it went back over the whole backfill window.
        """
        before: list[Break] | None = None
        # What explains a break may be older than the overlap: posted late, dated without a
        # time, or passed over while our clock was ahead.
        if self._far_back or (self.last is not None and self.last.breaks):
            is_deep = is_deep or self._may_look_back()
        reading = await self._view.read(self._since(now, is_deep=is_deep))
        readings = 1
        while (found := _of_symbols(reading)) and found != before and readings < _MOST_READINGS:
            await self._desk.clock.sleep(self._desk.settings.settle_seconds)
            is_deep = is_deep or self._may_look_back()
            before, reading = found, await self._view.read(self._since(now, is_deep=is_deep))
            readings += 1
        return reading, is_deep

    def _may_look_back(self) -> bool:
        now, last = self._desk.clock.monotonic(), self._looked_back_at
        if last is not None and now - last < self._desk.settings.look_back_every_seconds:
            return False
        self._looked_back_at = now
        return True

    async def _open_books(self, reading: Reading) -> Reading:
        """Take the opening cash into new books; holdings are a person's to adopt."""
        as_of, account = await self._cash_to_adopt()
        self._desk.ledger.adopt_cash(account.cash, "opening balance", as_of=as_of)
        left = tuple(found for found in reading.breaks if found.kind is not BreakKind.CASH)
        return dataclasses.replace(reading, account=account, breaks=left)

    async def _cash_to_adopt(self) -> tuple[dt.datetime, Account]:
        """Read the cash twice, and between that book what is in it and was not told before."""
        as_of = (await self._desk.broker.clock()).now
        account = usable(await self._desk.broker.account())
        await self._view.book_activities(self._since(self._desk.clock.now(), is_deep=False))
        if (await self._desk.broker.account()).cash != account.cash:
            # Everything is counted from it: one figure that is wrong would stay for ever.
            raise BrokerUnavailable("two readings of the cash differ; try again in a minute")
        return as_of, account

    def _lock(self, reading: Reading, breaks: Sequence[Break]) -> None:
        self._desk.disputed.clear()
        details: dict[Symbol, list[str]] = {}
        for found in breaks:
            if found.symbol is None:
                continue
            details.setdefault(found.symbol, []).append(found.detail)
            is_read = found.symbol not in reading.unread
            theirs = reading.theirs.get(found.symbol, ZERO) if is_read else ZERO
            self._desk.disputed[found.symbol] = theirs
            if found.kind is BreakKind.REGRESSION:
                self._clean_runs_needed[found.symbol] = _CLEAN_RUNS_AFTER_REGRESSION
        locked = self._desk.ledger.locks()
        for symbol, texts in details.items():
            # A deeper look shows more than the next one: what was told once is no news.
            if not all(text in locked.get(symbol, "") for text in texts):
                self._desk.lock(symbol, "; ".join(texts))

    def _beyond_overlap(self, breaks: Sequence[Break], now: dt.datetime) -> set[Symbol]:
        since = now - dt.timedelta(seconds=self._desk.settings.overlap_seconds)
        return {b.symbol for b in breaks if b.symbol and b.at is not None and b.at < since}

    def _unlock(self, locked: Mapping[Symbol, str], breaks: Sequence[Break]) -> tuple[Symbol, ...]:
        # What a deep reading showed, only a deep one can show to be over.
        broken = self._far_back | {found.symbol for found in breaks if found.symbol}
        unlocked: list[Symbol] = []
        for symbol, why in sorted(locked.items()):
            if symbol in broken or why.startswith(MANUAL_LOCK):
                continue
            if why.startswith(LIMIT_LOCK) and self._desk.over_limit(symbol, None):
                continue
            needed = self._clean_runs_needed.get(symbol, 1) - 1
            if needed > 0:
                self._clean_runs_needed[symbol] = needed
                continue
            self._clean_runs_needed.pop(symbol, None)
            self._desk.ledger.unlock(symbol)
            self._desk.note("symbol.unlocked", f"{symbol} agrees with the broker again", symbol)
            unlocked.append(symbol)
        return tuple(unlocked)


def _of_symbols(reading: Reading) -> list[Break]:
    """Cash may differ for days until a fee is posted; that is not worth a second reading."""
    return [found for found in reading.breaks if found.kind is not BreakKind.CASH]
