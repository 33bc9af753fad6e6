"""Watch the account: high-water mark, daily loss, drawdown, and what follows from them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog

from domain.account import Account, Position
from domain.errors import AuthRefused, BrokerUnavailable, DataError
from domain.market import Session
from domain.trading_state import TradingState
from execution.broker_lock import BrokerLock
from execution.broker_view import usable
from execution.comparing import ReconcileReport
from execution.desk import Desk
from risk.drawdown import RiskAssessment, assess
from risk.settings import RiskLimits
from risk.unnamed_cash import UnnamedCash
from state.equity import EquityCurve
from state.risk_state import RiskState


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The account as last known, when it was read, and what its equity means now.

    The account is None as long as none could be used; equity that is unknown is in the
    assessment, and the account is there for exits, which need none.

    ``held`` are the positions of the same reading, None where it read none; ``reason`` is why
    entries may not leave; ``is_known`` tells whether the equity was usable.
    """

    account: Account | None
    at: dt.datetime
    assessment: RiskAssessment
    held: Sequence[Position] | None = None
    reason: str = ""
    is_known: bool = True

    @property
    def is_unclear(self) -> bool:
        """True where a loss is not known, so that no entry may leave."""
        return None in {self.assessment.daily_loss_pct, self.assessment.drawdown_pct}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The account beside the books of the same moment, with ``flows`` deposits and withdrawals.

    ``residual`` is its cash less theirs; ``unnamed`` is what of it no flow explains, None
    where other breaks may explain it, or where nothing was compared.
    """

    account: Account
    at: dt.datetime
    flows: int
    residual: Decimal
    unnamed: Decimal | None = None
    is_compared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The account, its equity without unnamed cash, and of when and of which books it is."""

    account: Account
    equity: Decimal
    at: dt.datetime
    flows: int


class Monitor:
    """Reads equity and lets the limits judge it."""

    def __init__(
        self,
        desk: Desk,
        *,
        risk_state: RiskState,
        curve: EquityCurve,
        limits: RiskLimits,
    ) -> None:
        self._desk = desk
        self._risk_state = risk_state
        self._curve = curve
        self._limits = limits
        self._log = structlog.get_logger("monitor")
        self._last: _Read | None = None
        self._is_known = False
        self._cash = UnnamedCash()
        self._lock = BrokerLock(desk)
        self._lock_problem = ""
        self._unusable = ""
        self._assessed: RiskAssessment | None = None

    async def check(
        self,
        session: Session,
        *,
        snapshot: bool = False,
        seen: ReconcileReport | None = None,
        priced: Session | None = None,
    ) -> Judged:
        """Judge the account, and act: reduce, or engage the latch.

        Args:
            session: whose end or look this is.
            snapshot: also keep equity and positions for the curve.
            seen: a comparison of a moment ago; without one the account is read.
            priced: the session whose prices are read, where it may be a later one; a loss is
                that one's.
        """
        judged_in = priced if priced is not None and priced.date > session.date else session
        if seen is not None and seen.flows != self._risk_state.flow_count():
            # A younger comparison booked money: the mark has it, this equity may not.
            seen = None
        is_read = True
        if seen is None:
            is_read = await self._read(judged_in)
        else:
            await self._take(judged_in, _look_of(seen))
        last = self._last
        known = last if self._is_known and self._is_of_now(last) else None
        assessment = self._assess(judged_in, known)
        judged = Judged(
            account=last.account if last is not None else None,
            at=last.at if last is not None else self._desk.clock.now(),
            assessment=assessment,
            held=seen.held if seen is not None else None,
            reason=self._act(assessment),
            is_known=known is not None,
        )
        if snapshot and known is not None and is_read:
            # Told where its prices are from, unless the other session has no figure at all.
            told_in = judged_in if self._curve.has(session.date) else session
            await self._snapshot(told_in, known.account, judged.held)
        return judged

    def report_made(self) -> None:
        """Act on the last judgement again: a report that balances ends what one before began."""
        if self._assessed is not None:
            self._act(self._assessed)

    def _is_of_now(self, last: "_Read | None") -> bool:
        """Tell whether equity and mark are of one moment: old beside new would be a loss."""
        return last is not None and last.flows == self._risk_state.flow_count()

    async def _read(self, session: Session) -> bool:
        """Ask for the account; False where nothing was told, and the last figure stands."""
        now, flows = self._desk.clock.now(), self._risk_state.flow_count()
        try:
            account = usable(await self._desk.broker.account())
        except AuthRefused as exc:
            self._desk.halt(f"auth: {exc}")
        except BrokerUnavailable as exc:
            self._log.warning("account.unread", reason=str(exc))
        else:
            residual = account.cash - self._desk.ledger.cash()
            look = _Look(account=account, at=now, flows=flows, residual=residual)
            await self._take(session, look)
            return True
        return False

    async def _take(self, session: Session, look: _Look) -> None:
        account, now = look.account, look.at
        is_named = self._last is not None and look.flows != self._last.flows
        self._cash = cash = self._cash.then(look.residual, look.unnamed, is_named=is_named)
        equity = account.equity
        if equity.is_finite() and equity > 0:
            # Of anything else cash that is missing beside it would make an equity again.
            equity = cash.named(equity)
        try:
            self._risk_state.record_equity(
                equity,
                now,
                session_date=session.date,
                # Money that no comparison asked after may be a transfer that is booked later.
                may_begin=cash.is_settled and (look.is_compared or not look.residual),
                may_raise_mark=cash.may_raise_mark,
            )
        except DataError as exc:
            # Neither a total loss nor a pass: the figure is unknown, so entries are blocked;
            # exits need none, and the account as last known is there for them.
            self._tell_unusable(str(exc))
            self._last = self._last or _Read(
                account=account, equity=equity, at=now, flows=look.flows
            )
            self._is_known = False
            return
        self._unusable = ""
        if account.is_trading_blocked:
            self._desk.halt("the broker blocked trading on this account")
        self._lock_problem = await self._lock.compare(account)
        self._last = _Read(account=account, equity=equity, at=now, flows=look.flows)
        # Missing beside a break it is a withdrawal on its way, or what a purchase cost: neither a
        # loss nor none until a second look shows it too.
        self._is_known = not (look.is_compared and look.unnamed is None and cash.has_fallen)

    def _tell_unusable(self, problem: str) -> None:
        """Once: 30 seconds later the same figure is no news."""
        if problem != self._unusable:
            self._unusable = problem
            self._desk.note("equity.unusable", problem)

    def _assess(self, session: Session, last: "_Read | None") -> RiskAssessment:
        return assess(
            equity=last.equity if last else None,
            equity_age_seconds=(self._desk.clock.now() - last.at).total_seconds() if last else None,
            high_water_mark=self._risk_state.high_water_mark(),
            session_start=self._risk_state.session_start_equity(session.date),
            flows=self._risk_state.flows_since_start(session.date),
            limits=self._limits,
        )

    def _act(self, assessment: RiskAssessment) -> str:
        self._assessed = assessment
        reason = "; ".join(assessment.reasons)
        if assessment.should_engage_latch:
            self._desk.halt(reason)
        state = assessment.trading_state
        doubts = [why for why in (self._lock_problem, self._desk.only_exits()) if why]
        if state is TradingState.ACTIVE and doubts:
            state, reason = TradingState.REDUCING, "; ".join(doubts)
        if self._risk_state.set_trading_state(state, reason) is not state:
            self._log.warning("trading_state.changed", state=state.value, reason=reason)
        return reason

    async def _snapshot(
        self, session: Session, account: Account, held: Sequence[Position] | None
    ) -> None:
        try:
            positions = held if held is not None else await self._desk.broker.positions()
        except (BrokerUnavailable, AuthRefused):
            # Keys that are refused halt where the account is read; the curve lacks a point.
            return
        self._curve.record(
            self._desk.clock.now(),
            session_date=session.date,
            equity=account.equity,
            cash=account.cash,
            positions=positions,
        )


def _look_of(seen: ReconcileReport) -> _Look:
    return _Look(
        account=seen.account,
        at=seen.finished_at,
        flows=seen.flows,
        residual=seen.cash_residual,
        unnamed=seen.unnamed_cash,
        is_compared=True,
    )
