"""The end-of-day report as values: everything rendered is in here, and nothing else is."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """From the equity before the session to the equity after it, USD.

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
    def residual(self) -> Decimal:
        """What is left unexplained."""
        return self.change - self.pnl - self.transfers

    @property
    def is_reconciled(self) -> bool:
        """True when the books explain the broker's figure to the cent."""
        return self.residual == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolPnl:
    """One symbol's part; ``quantity`` and ``value`` at the end of the session."""

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
class Point:
    """A moment and a figure, for plots."""

    at: dt.datetime
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfDayReport:
    """The report of one session.  Rows are the public JSON shapes of state.reader."""

    session_date: dt.date
    revision: int
    mode: str
    account_tail: str
    next_session: dt.date | None
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

    @property
    def is_reconciled(self) -> bool:
        """True when the bridge closes."""
        return self.bridge.is_reconciled
