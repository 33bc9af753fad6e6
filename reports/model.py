"""The reports as values: everything rendered is in here, and nothing else is."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from domain.money import ZERO, cents

Row = Mapping[str, Any]
_TRACE = Decimal("1E-12")
UNREPORTED = 0
"""The revision of a session that was read and is told in a week or a month alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """From the equity before a session, or several, to the equity after, USD.

    ``fees`` is above 0 when paid.  ``residual`` is what no booked event explains: the
    broker's change in equity less all the parts.
    """

    equity_start: Decimal
    equity_end: Decimal
    realized_pnl: Decimal
    unrealized_pnl_change: Decimal
    fees: Decimal
    dividends: Decimal
    interest: Decimal
    transfers: Decimal
    other: Decimal

    @property
    def change(self) -> Decimal:
        """Broker equity after less before."""
        return self.equity_end - self.equity_start

    @property
    def pnl(self) -> Decimal:
        """What trading and holding earned, after fees; transfers are not earned."""
        return (
            self.realized_pnl
            + self.unrealized_pnl_change
            - self.fees
            + self.dividends
            + self.interest
            + self.other
        )

    @property
    def earned_fraction(self) -> Decimal | None:
        """The P&L as a share of the capital it was earned with; None without any.

        A deposit is at work from the start, as for the limit of the daily loss.
        """
        capital = self.equity_start + max(self.transfers, ZERO)
        return self.pnl / capital if capital > 0 else None

    @property
    def residual(self) -> Decimal:
        """What is left unexplained."""
        left = self.change - self.pnl - self.transfers
        # An average cost need not end: parts of 28 digits can leave a trace in the last one.
        return left.quantize(_TRACE)

    @property
    def is_reconciled(self) -> bool:
        """True when the books explain the broker's figure to the cent."""
        return cents(self.residual) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolPnl:
    """One symbol's part; ``quantity`` and ``value`` at the end."""

    symbol: str
    quantity: Decimal
    value: Decimal
    realized_pnl: Decimal
    unrealized_pnl_change: Decimal

    @property
    def pnl(self) -> Decimal:
        """Realized and unrealized together."""
        return self.realized_pnl + self.unrealized_pnl_change


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyPnl:
    """One strategy's part of the P&L of the symbols, USD to the cent."""

    strategy: str
    symbols: tuple[str, ...]
    pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A moment and a figure, for plots."""

    at: dt.datetime
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Tomorrow:
    """The next session: when it opens and closes (UTC), and what is done before."""

    date: dt.date
    opens_at: dt.datetime
    closes_at: dt.datetime
    is_half_day: bool
    closed_between: tuple[dt.date, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardsticks:
    """What the report measures against: assumptions, limits and budgets of the configuration.

    ``slippage_bps`` is what demo and backtest charge for an execution: half the spread.
    """

    slippage_bps: Decimal = Decimal(1)
    gpu_daily_budget_usd: Decimal | None = None
    monthly_budget_usd: Decimal | None = None
    max_drawdown_pct: Decimal | None = None
    max_daily_loss_pct: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What remote services cost, against a budget; None where there is none."""

    name: str
    spent: Decimal
    budget: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfDayReport:
    """The report of one session.  Rows are the public JSON shapes of state.reader.

    ``doubts`` is why the report is provisional; empty when it is final.  ``unknown`` is
    what cannot be told where it was made from the broker alone.
    """

    session_date: dt.date
    revision: int
    mode: str
    account_tail: str
    tomorrow: Tomorrow | None
    bridge: Bridge
    by_symbol: tuple[SymbolPnl, ...]
    orders: tuple[Row, ...]
    fills: tuple[Row, ...]
    denied: tuple[Row, ...]
    signals: tuple[Row, ...]
    forecasts: tuple[Row, ...]
    sentiment: tuple[Row, ...]
    runs: tuple[Row, ...]
    incidents: tuple[Row, ...]
    costs: tuple[Row, ...]
    notes: tuple[str, ...]
    equity_curve: tuple[Point, ...]
    position_curves: Mapping[str, tuple[Point, ...]]
    by_strategy: tuple[StrategyPnl, ...] = ()
    trades: tuple[Row, ...] = ()
    matured: tuple[Row, ...] = ()
    activities: tuple[Row, ...] = ()
    spending: tuple[Spending, ...] = ()
    excluded: tuple[Row, ...] = ()
    doubts: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    drawdown_curve: tuple[Point, ...] = ()
    exposure_curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    yardsticks: Yardsticks = field(default_factory=Yardsticks)

    @property
    def is_reconciled(self) -> bool:
        """True when the bridge closes and nothing of it is unknown."""
        return self.bridge.is_reconciled and not self.unknown

    @property
    def is_provisional(self) -> bool:
        """True while something that belongs in it may still come."""
        return bool(self.doubts)

    @property
    def is_from_broker(self) -> bool:
        """True when the database had no part in it."""
        return bool(self.unknown)

    @property
    def next_session(self) -> dt.date | None:
        """The date of the next session."""
        return self.tomorrow.date if self.tomorrow else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp:
    """Several sessions as one: of a week, or of a month.  ``days`` are in order."""

    kind: str
    name: str
    first: dt.date
    last: dt.date
    is_complete: bool
    missing: tuple[dt.date, ...]
    days: tuple[EndOfDayReport, ...]
    bridge: Bridge
    by_symbol: tuple[SymbolPnl, ...]
    by_strategy: tuple[StrategyPnl, ...]
    drawdown_curve: tuple[Point, ...]

    @property
    def earned_fraction(self) -> Decimal | None:
        """The shares of the sessions compounded; None where one has none.

        So it is time-weighted: without transfers it is the P&L of the equity before.
        """
        growth = Decimal(1)
        for day in self.days:
            fraction = day.bridge.earned_fraction
            if fraction is None:
                return None
            growth *= 1 + fraction
        return growth - 1

    @property
    def is_reconciled(self) -> bool:
        """True when the sum closes, and each day does."""
        return self.bridge.is_reconciled and all(day.is_reconciled for day in self.days)

    @property
    def is_provisional(self) -> bool:
        """True while a day is, or one is missing, or the period runs."""
        missing = bool(self.missing) or not self.is_complete
        return missing or any(day.is_provisional for day in self.days)
