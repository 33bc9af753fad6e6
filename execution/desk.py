"""What every part of the order path works with: the broker, the books, the latch, the clock."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import StateError
from domain.ids import Symbol
from domain.trading_state import TradingState, strictest
from risk.error_rate import ErrorWindow
from risk.settings import RiskLimits
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.locks import standing
from state.pause import Pause
from state.reports import Reports
from state.store import Store

OverLimit = Callable[[Symbol, Decimal | None], str]
"""Which limit a holding breaks at a price, in words; empty when none."""

Alert = Callable[[str, str, Symbol | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSettings:
    """Patience and pace of the order path; spans in seconds."""

    sends_at_once: int = 4
    unknown_reads_seconds: tuple[float, ...] = (1, 2, 4, 8, 16, 30, 60)
    absence_reads: int = 3
    absence_seconds: float = 120.0
    resolve_seconds: float = 240.0
    most_posts: int = 8
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    cancel_wait_seconds: float = 15.0
    settle_seconds: float = 1.0
    backfill_seconds: float = 10 * 86_400.0
    overlap_seconds: float = 900.0
    look_back_every_seconds: float = 600.0
    is_long_only: bool = False


def _error_window() -> ErrorWindow:
    return ErrorWindow(RiskLimits().order_errors)


def _within_limits(_symbol: Symbol, _price: Decimal | None) -> str:
    return ""


def _no_alert(_kind: str, _text: str, _symbol: Symbol | None) -> None:
    """Tell nobody."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """The shared tools.

    ``disputed`` holds the broker's quantity of each symbol in a break, zero where it is still
    to be read; ``is_halted`` stops this process where even the latch could not be written;
    ``market_doubt`` is why the broker's clock or calendar lets no entry leave;
    ``made_by`` names the code and the settings that this process began with.
    """

    broker: Broker
    store: Store
    journal: Journal
    ledger: Ledger
    incidents: Incidents
    latch: Latch
    clock: Clock
    trading_state: Callable[[], TradingState]
    settings: OrderSettings = field(default_factory=OrderSettings)
    alert: Alert = _no_alert
    is_halted: bool = False
    market_doubt: str | None = None
    disputed: dict[Symbol, Decimal] = field(default_factory=dict)
    errors: ErrorWindow = field(default_factory=_error_window)
    over_limit: OverLimit = _within_limits
    urgent: Broker | None = None
    made_by: str = ""

    @property
    def stopping(self) -> Broker:
        """The broker for kills and cancels: nothing of ours may hold them back."""
        return self.urgent or self.broker

    def effective_state(self) -> TradingState:
        """Return the strictest of trading state, latch, and all that lets only exits leave.

        Each is read now: what a person sets holds for the next write, not from the next look on.
        """
        is_engaged = (
            self.is_halted or self.latch.read().is_engaged or self.store.latch_row().is_engaged
        )
        return strictest(
            self.trading_state(),
            TradingState.REDUCING if self.only_exits() else TradingState.ACTIVE,
            TradingState.HALTED if is_engaged else TradingState.ACTIVE,
        )

    def only_exits(self) -> str:
        """Return why entries must not leave, the account's figures apart; empty where they may."""
        found = []
        if (why := Pause(self.store.directory).reason) is not None:
            found.append(f"paused: {why}")
        if self.market_doubt is not None:
            found.append(self.market_doubt)
        if (report := Reports(self.store).unbalanced()) is not None:
            found.append(report.problem)
        return "; ".join(found)

    def note(self, kind: str, text: str, symbol: Symbol | None = None) -> None:
        """Store an incident and tell the operator, also of what could not be stored.

        Raises:
            StateError: it was told, and is not stored.
        """
        try:
            self.incidents.record(kind, text, self.clock.now(), symbol)
        finally:
            self.alert(kind, text, symbol)

    def lock(self, symbol: Symbol, reason: str) -> None:
        """Allow only exits in a symbol, and say so once."""
        before = self.ledger.locks().get(symbol, "")
        reason = standing(before, reason)
        if before != reason:
            self.ledger.lock(symbol, reason)
            self.note("symbol.locked", f"{symbol} is locked to exits: {reason}", symbol)

    def operated(self, problem: str = "") -> None:
        """Count one operation of the order path; too many problems halt it.

        Args:
            problem: what went wrong, in words; empty when the answer was clear, good or bad.
        """
        reason = self.errors.record(self.clock.monotonic(), is_error=bool(problem))
        if reason:
            self.halt(f"error rate: {reason}; the last: {problem}")

    def halt(self, reason: str) -> None:
        """Engage the latch; neither a full disk nor a broken database stops that."""
        if self.latch.read().is_engaged:
            return
        self.is_halted = True
        self.alert("kill.engaged", reason, None)
        # Within a transaction that a full disk ended here, the next write or the commit says so.
        with contextlib.suppress(StateError):
            self.latch.engage(reason, self.clock.now())
            # From here on the file says it, and a person can release it again.
            self.is_halted = False
            self.store.sync_latch(self.latch)
            self.incidents.record("kill.engaged", reason, self.clock.now())
