"""The exchange seen through the domain's words."""

import datetime as dt

from brokers.exchange.engine import Exchange
from brokers.exchange.events import ActivityPosted, OrderChanged
from brokers.exchange.orders import Execution, Order
from brokers.exchange.windows import new_york
from brokers.exchange.words import Status
from domain.account import Account, Activity, ActivityKind, Asset, MarketClock, Position
from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.market import Session
from domain.money import ZERO
from domain.orders import BrokerOrder, Fill, OrderState, TradeUpdate

_STATES = {
    Status.FILLED: OrderState.FILLED,
    Status.CANCELED: OrderState.CANCELED,
    Status.EXPIRED: OrderState.EXPIRED,
    Status.REJECTED: OrderState.REJECTED,
    Status.REPLACED: OrderState.REPLACED,
    Status.PENDING_CANCEL: OrderState.CANCELING,
}
_KINDS = {
    "FEE": ActivityKind.FEE,
    "DIV": ActivityKind.DIVIDEND,
    "INT": ActivityKind.INTEREST,
    "CSD": ActivityKind.TRANSFER,
    "CSW": ActivityKind.TRANSFER,
    "JNLC": ActivityKind.TRANSFER,
    "SPLIT": ActivityKind.SPLIT,
}


def last_close(exchange: Exchange) -> dt.date:
    """Return the session whose close the account's last equity is of."""
    today = new_york(exchange.last_time).date()
    last = exchange.book.closed_before(today)
    if last is not None:
        return last.date
    try:
        return exchange.calendar.previous_session(today).date
    except (LookupError, DataError):
        # The recording begins today.
        return today - dt.timedelta(days=1)


def account_view(exchange: Exchange) -> Account:
    """Balances and flags now."""
    figures = exchange.balances()
    config = exchange.desk.config
    return Account(
        account_number=exchange.book.account_number,
        status="ACTIVE",
        equity=figures.equity,
        last_equity=figures.last_equity,
        cash=figures.cash,
        buying_power=figures.buying_power,
        is_trading_blocked=config.is_blocked,
        is_suspended_by_user=config.is_suspended,
        last_close=last_close(exchange),
    )


def order_view(order: Order) -> BrokerOrder:
    """One order in our words; one for an amount of money has its shares when it has ended."""
    state = _STATES.get(order.status, OrderState.LIVE)
    unsized = order.filled_quantity if state.is_terminal else ZERO
    return BrokerOrder(
        broker_order_id=BrokerOrderId(order.id),
        client_order_id=ClientOrderId(order.client_order_id),
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity if order.quantity is not None else unsized,
        order_type=str(order.kind),
        limit_price=order.limit_price,
        time_in_force=str(order.tif),
        state=state,
        raw_status=str(order.status),
        filled_quantity=order.filled_quantity,
        filled_avg_price=order.filled_avg_price,
        submitted_at=order.submitted_at,
        updated_at=order.updated_at,
    )


def fill_view(execution: Execution, client_order_id: str) -> Fill:
    """One execution in our words."""
    return Fill(
        execution_id=ExecutionId(execution.id),
        broker_order_id=BrokerOrderId(execution.order_id),
        client_order_id=ClientOrderId(client_order_id),
        symbol=execution.symbol,
        side=execution.side,
        quantity=execution.quantity,
        price=execution.price,
        cumulative_quantity=execution.cumulative,
        at=execution.at,
    )


def update_view(event: OrderChanged) -> TradeUpdate:
    """One event of the trade stream in our words."""
    execution = event.execution
    is_fill = execution is not None and execution.previous_id is None
    return TradeUpdate(
        event=event.name,
        order=order_view(event.order),
        fill=fill_view(execution, event.order.client_order_id)
        if execution is not None and is_fill
        else None,
        at=event.at,
    )


def position_views(exchange: Exchange) -> list[Position]:
    """All holdings, sorted by symbol."""
    return [
        Position(
            symbol=symbol,
            quantity=holding.quantity,
            avg_entry_price=round(holding.cost / holding.quantity, 9),
            market_price=exchange.desk.last_price(symbol, exchange.last_time),
        )
        for symbol, holding in sorted(exchange.book.holdings.items())
    ]


def asset_view(exchange: Exchange, symbol: Symbol) -> Asset | None:
    """What is allowed for a symbol, or None when it is unknown."""
    listing = exchange.feed.listing(symbol)
    if listing is None:
        return None
    return Asset(
        symbol=symbol,
        is_tradable=listing.is_tradable,
        is_shortable=listing.is_shortable,
        is_fractionable=listing.is_fractionable,
    )


def activity_views(exchange: Exchange, since: dt.datetime) -> list[Activity]:
    """Fills and other activities since a moment, oldest first."""
    book = exchange.book
    rows = [
        _fill_activity(execution, book.orders[execution.order_id])
        for execution in book.executions
        if execution.at >= since
    ]
    rows += [_other_activity(event) for event in book.activities if event.at >= since]
    return sorted(rows, key=lambda row: row.activity_id)


def clock_view(exchange: Exchange) -> MarketClock:
    """The time, and the session around it."""
    now = exchange.last_time
    running = exchange.desk.open_session(now)
    coming = upcoming_session(exchange, now)
    return MarketClock(
        now=now,
        is_open=running is not None,
        next_open=coming.open,
        next_close=running.close if running is not None else coming.close,
    )


def upcoming_session(exchange: Exchange, now: dt.datetime) -> Session:
    """Return the first session that opens after now."""
    session = exchange.calendar.next_session(now)
    if session.open > now:
        return session
    return exchange.calendar.next_session(session.close)


def execution_activity_id(execution: Execution) -> str:
    """Return the activity id of a fill: its time, then its id."""
    at = execution.at
    return f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}::{execution.id}"


def _fill_activity(execution: Execution, order: Order) -> Activity:
    return Activity(
        activity_id=execution_activity_id(execution),
        kind=ActivityKind.FILL,
        at=execution.at,
        net_amount=ZERO,
        symbol=execution.symbol,
        broker_order_id=BrokerOrderId(execution.order_id),
        client_order_id=ClientOrderId(order.client_order_id),
        side=str(execution.side),
        quantity=execution.quantity,
        price=execution.price,
        cumulative_quantity=execution.cumulative,
    )


def _other_activity(event: ActivityPosted) -> Activity:
    return Activity(
        activity_id=event.id,
        kind=_KINDS.get(event.kind, ActivityKind.OTHER),
        at=event.at,
        net_amount=event.net_amount,
        symbol=event.symbol,
        quantity=event.quantity if event.symbol is not None else None,
        description=event.description,
    )
