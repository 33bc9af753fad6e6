"""From the books and the view to the gate's context: what every limit is tested against."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.account import Account
from domain.decisions import CombinedSignal
from domain.ids import Symbol
from domain.market import Bar, MarketView, Session
from domain.money import ZERO
from domain.orders import OrderState
from domain.trading_state import TradingState
from marketdata.session_calendar import trading_date
from risk.context import GateContext, Mark, OrderWindow
from risk.drawdown import RiskAssessment
from risk.reservations import Reservation
from risk.settings import RiskLimits
from risk.sizing import ENTRY, EXIT
from state.journal import Journal
from state.ledger import Ledger
from state.rows import OrderRecord

_VOLUME_SESSIONS = 20
# These never left, so the same intent may be decided again.
_NEVER_LEFT = frozenset(
    {OrderState.PLANNED, OrderState.DENIED, OrderState.APPROVED, OrderState.SKIPPED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the account stands at the moment the gate is asked."""

    now: dt.datetime
    session: Session
    window: OrderWindow
    trading_state: TradingState
    trading_state_reason: str
    is_latch_engaged: bool | None
    account: Account
    account_at: dt.datetime
    assessment: RiskAssessment


def gate_context(
    standing: Standing,
    *,
    view: MarketView,
    combined: Iterable[CombinedSignal],
    limits: RiskLimits,
    expected_data_date: dt.date,
    journal: Journal,
    ledger: Ledger,
    doubts: Mapping[Symbol, str] | None = None,
) -> GateContext:
    """Freeze the question: the books as they are now, the view as it was decided on.

    ``doubts`` are what the live market has against entries, by symbol.
    """
    session, account = standing.session, standing.account
    orders, working = journal.of_session(session.date), journal.working()
    sent = _left(orders)
    return GateContext(
        now=standing.now,
        session_date=session.date,
        limits=limits,
        trading_state=standing.trading_state,
        trading_state_reason=standing.trading_state_reason,
        is_latch_engaged=standing.is_latch_engaged,
        window=standing.window,
        equity=account.equity,
        equity_at=standing.account_at,
        buying_power=account.buying_power,
        daily_loss_pct=standing.assessment.daily_loss_pct,
        drawdown_pct=standing.assessment.drawdown_pct,
        positions={symbol: held.quantity for symbol, held in ledger.positions().items()},
        marks=marks(view, session),
        assets=view.assets,
        expected_data_date=expected_data_date,
        reservations=reservations(working),
        locks=ledger.locks(),
        confidences={signal.symbol: signal.confidence for signal in combined},
        forecast_sources={symbol: f.source for symbol, f in view.forecasts.items()},
        average_volumes=average_volumes(view.history),
        reporting=view.reporting,
        closed_to_entries={**view.ending, **unsized(working), **(doubts or {})},
        known_ids=frozenset(record.client_order_id for record in sent),
        orders_today=len(sent),
        exited=frozenset(record.symbol for record in sent if record.request.leg == EXIT),
        opened_notional_today=opened_notional(orders),
    )


def marks(view: MarketView, session: Session) -> dict[Symbol, Mark]:
    """Return the last recorded close of each symbol, or the broker's price of a holding."""
    found: dict[Symbol, Mark] = {}
    for symbol, position in view.positions.items():
        if position.market_price is not None:
            found[symbol] = Mark(price=position.market_price, at=view.as_of, data_date=session.date)
    for symbol, bars in view.history.items():
        close = view.last_close(symbol)
        if close is not None:
            date = trading_date(bars[-1].at)
            found[symbol] = Mark(price=close, at=bars[-1].at, data_date=date)
    return found


def reservations(records: Iterable[OrderRecord]) -> tuple[Reservation, ...]:
    """Return what each order that may still fill can still do."""
    return tuple(
        Reservation.of_request(record.request, filled=record.filled_quantity)
        for record in records
        # An approved order that is being gated again must not count against itself.
        if record.state is not OrderState.APPROVED
    )


def unsized(records: Iterable[OrderRecord]) -> dict[Symbol, str]:
    """Return the symbols in which an order works whose shares nobody can reserve for."""
    return {
        record.symbol: f"{record.client_order_id} works in it for an amount of money"
        for record in records
        if record.is_unsized
    }


def average_volumes(history: Mapping[Symbol, Sequence[Bar]]) -> dict[Symbol, Decimal]:
    """Return the mean daily volume in shares, for symbols whose volume is recorded."""
    found: dict[Symbol, Decimal] = {}
    for symbol, bars in history.items():
        volumes = [bar.volume for bar in bars[-_VOLUME_SESSIONS:] if bar.volume is not None]
        if volumes:
            found[symbol] = Decimal(round(sum(volumes) / len(volumes)))
    return found


def opened_notional(orders: Iterable[OrderRecord]) -> Decimal:
    """Return the USD of all entries that left, at their worst price."""
    return sum((record.request.notional for record in _left(orders) if _is_entry(record)), ZERO)


def next_revisions(orders: Iterable[OrderRecord]) -> dict[tuple[Symbol, str], int]:
    """Return the next revision by symbol and leg: a new number only after a terminal order."""
    found: dict[tuple[Symbol, str], int] = {}
    for record in _left(orders):
        key = (record.symbol, record.request.leg)
        revision = record.request.revision + (1 if record.state.is_terminal else 0)
        found[key] = max(found.get(key, 0), revision)
    return found


def _left(orders: Iterable[OrderRecord]) -> list[OrderRecord]:
    return [record for record in orders if record.state not in _NEVER_LEFT]


def _is_entry(record: OrderRecord) -> bool:
    return record.request.leg == ENTRY
