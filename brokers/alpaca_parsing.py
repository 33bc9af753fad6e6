"""Alpaca's JSON into our words.

Tolerant where a server may grow (unknown fields, new statuses, retired fields) and
strict where a wrong value would cost money: numbers, ids, sides, times.  Everything
here raises DataError and nothing else.
"""

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from zoneinfo import ZoneInfo

from brokers.alpaca_fields import (
    Row,
    amount,
    amount_or,
    amount_or_none,
    moment,
    moment_of,
    row,
    text,
    word,
)
from domain.account import Account, Activity, ActivityKind, Asset, MarketClock, Position
from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.market import Session
from domain.money import ZERO
from domain.orders import BrokerOrder, Fill, OrderState, Side, TradeUpdate

FILL_EVENTS = frozenset({"fill", "partial_fill"})
OF_LEGS = Symbol("multi-leg")
"""Stands for the symbol that an order of several option legs does not have."""

_NEW_YORK = ZoneInfo("America/New_York")
_FIRST_TRADES = dt.time(4)
_REGULAR_SESSION = dt.timedelta(hours=6, minutes=30)

# Anything that may still fill is LIVE, also a status we have never seen.
_STATES: Mapping[str, OrderState] = {
    "pending_cancel": OrderState.CANCELING,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "replaced": OrderState.REPLACED,
}
_LIVE_STATUSES = frozenset(
    {
        "accepted", "accepted_for_bidding", "calculated", "done_for_day", "held", "new",
        "partially_filled", "pending_new", "pending_replace", "pending_review", "stopped",
        "suspended",
    }
)  # fmt: skip
# The limit of such an order may be a credit, below 0, and is no price of a share.
_WITHOUT_SHARES = {"qty": None, "filled_qty": None, "filled_avg_price": None, "limit_price": None}
_SIDES: Mapping[str, Side] = {"buy": Side.BUY, "sell": Side.SELL, "sell_short": Side.SELL}
_TRANSFERS = frozenset({"CSD", "CSW", "CSR", "ACATC", "ACATS", "JNL", "JNLC", "JNLS", "TRANS"})
_FEES = frozenset({"FEE", "CFEE", "PTC", "PTR"})
_SPLITS = frozenset({"SPLIT", "SSP", "FSPLIT", "RSPLIT"})
_MADE = re.compile(r"ADD\b.{0,200}\bTo QTY: ?(?P<quantity>-?[0-9]{1,18}(\.[0-9]{1,18})?)(?![0-9])")


def is_known_status(status: str) -> bool:
    """Tell whether an order status was known when this was written."""
    return status in _STATES or status in _LIVE_STATUSES


def account(raw: object) -> Account:
    """Parse balances and flags; a flag that is not plainly off counts as on."""
    data = row(raw, what="account")
    status = word(data, "status")
    equity = amount(data, "equity")
    flags = [data.get(key, False) for key in ("trading_blocked", "account_blocked")]
    return Account(
        account_number=word(data, "account_number"),
        status=status,
        equity=equity,
        last_equity=amount_or(data, "last_equity", equity),
        cash=amount(data, "cash"),
        buying_power=amount(data, "buying_power"),
        is_trading_blocked=status != "ACTIVE" or any(flag is not False for flag in flags),
        is_suspended_by_user=data.get("trade_suspended_by_user", False) is not False,
        last_close=_date_or_none(data, "balance_asof"),
    )


def held_value(raw: object) -> Decimal:
    """Return the gross value of all holdings that the account itself reports, USD."""
    data = row(raw, what="account")
    if data.get("long_market_value") is None:
        return abs(amount(data, "equity") - amount(data, "cash"))
    long_value = abs(amount(data, "long_market_value"))
    return long_value + abs(amount_or(data, "short_market_value", ZERO))


def equity_history(raw: object) -> Mapping[dt.date, Decimal]:
    """Parse the equity of each day; a day without a figure is absent."""
    data = row(raw, what="portfolio history")
    times, values = data.get("timestamp"), data.get("equity")
    if not (isinstance(times, list) and isinstance(values, list) and len(times) == len(values)):
        raise DataError("portfolio history: timestamp and equity are not lists of one length")
    found = {}
    for seconds, value in zip(times, values, strict=True):
        known = amount_or_none({"equity": value}, "equity")
        if known is not None:
            found[_day_of(seconds)] = known
    return found


def _day_of(seconds: object) -> dt.date:
    try:
        return dt.datetime.fromtimestamp(seconds, _NEW_YORK).date()  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError) as exc:
        raise DataError("portfolio history: a timestamp is no time") from exc


def market_clock(raw: object) -> MarketClock:
    """Parse the broker's clock."""
    data = row(raw, what="clock")
    is_open = data.get("is_open")
    if not isinstance(is_open, bool):
        raise DataError("clock: is_open is not true or false")
    return MarketClock(
        now=moment(data, "timestamp"),
        is_open=is_open,
        next_open=moment(data, "next_open"),
        next_close=moment(data, "next_close"),
    )


def session(raw: object) -> Session:
    """Parse one calendar row; its times are New York's."""
    data = row(raw, what="calendar")
    try:
        date = dt.date.fromisoformat(word(data, "date"))
        open_at, close_at = (
            dt.datetime.combine(date, dt.time.fromisoformat(word(data, key)), _NEW_YORK).astimezone(
                dt.UTC
            )
            for key in ("open", "close")
        )
    except (ValueError, OverflowError) as exc:
        raise DataError(f"calendar: {exc}") from exc
    if not open_at < close_at:
        raise DataError(f"calendar: session {date} closes before it opens")
    is_half_day = close_at - open_at < _REGULAR_SESSION
    return Session(date=date, open=open_at, close=close_at, is_half_day=is_half_day)


def asset(raw: object) -> Asset:
    """Parse what is allowed for a symbol; what is not said is not allowed."""
    data = row(raw, what="asset")
    is_active = data.get("status") == "active"
    return Asset(
        symbol=Symbol(word(data, "symbol")),
        is_tradable=is_active and data.get("tradable") is True,
        is_shortable=is_active and data.get("shortable") is True and _is_easy_to_borrow(data),
        is_fractionable=data.get("fractionable") is True,
    )


def position(raw: object) -> Position:
    """Parse one holding; short quantities are negative on the wire too, but not always."""
    data = row(raw, what="position")
    quantity = amount(data, "qty")
    if data.get("side") == "short":
        quantity = -abs(quantity)
    return Position(
        symbol=Symbol(word(data, "symbol")),
        quantity=quantity,
        avg_entry_price=amount(data, "avg_entry_price"),
        market_price=amount_or_none(data, "current_price"),
        previous_close=amount_or_none(data, "lastday_price"),
    )


def order(raw: object) -> BrokerOrder:
    """Parse an order; a status we do not know is LIVE, with the broker's word kept.

    One of several option legs has neither symbol nor side of its own, and what it executes is
    told of its legs, which are orders too: it is given a name and no shares, so that it can be
    counted and canceled like any other.
    """
    data = row(raw, what="order")
    if _is_of_legs(data):
        data = {**data, "symbol": OF_LEGS, "side": Side.BUY.value, **_WITHOUT_SHARES}
    order_id = word(data, "id")
    status = word(data, "status")
    filled = amount_or(data, "filled_qty", ZERO)
    submitted = moment_of(data, "submitted_at", "created_at")
    state = _STATES.get(status, OrderState.LIVE)
    # Of an order for an amount of money the shares are known when it has ended.
    quantity = amount_or(data, "qty", filled if state.is_terminal else ZERO)
    if filled < 0 or quantity < 0:
        raise DataError(f"order {order_id}: a quantity is negative")
    return BrokerOrder(
        broker_order_id=BrokerOrderId(order_id),
        client_order_id=ClientOrderId(word(data, "client_order_id")),
        symbol=Symbol(word(data, "symbol")),
        side=_side(data),
        quantity=quantity,
        order_type=text(data, "type") or text(data, "order_type"),
        limit_price=amount_or_none(data, "limit_price"),
        time_in_force=text(data, "time_in_force"),
        state=state,
        raw_status=status,
        filled_quantity=filled,
        filled_avg_price=amount_or_none(data, "filled_avg_price"),
        submitted_at=submitted,
        updated_at=moment_of(data, "updated_at", default=submitted),
    )


def _is_of_legs(data: Row) -> bool:
    return data.get("order_class") == "mleg" and not data.get("symbol")


def activity(raw: object) -> Activity:
    """Parse one row of the activity log: a fill, or money and shares that moved otherwise."""
    data = row(raw, what="activity")
    kind = word(data, "activity_type")
    return _fill_activity(data) if kind == "FILL" else _other_activity(data, kind)


def is_canceled(row: Row) -> bool:
    """Tell whether a row of the activity log was taken back; executions have no such word."""
    return row.get("status") == "canceled" and row.get("activity_type") != "FILL"


def trade_update(raw: object) -> TradeUpdate:
    """Parse the ``data`` of a trade_updates message.

    Only ``fill`` and ``partial_fill`` carry a Fill.  A bust or a correction names the past
    execution that it changes; how much of the order a corrected one is it does not say.
    """
    data = row(raw, what="trade update")
    event = word(data, "event")
    state = order(data.get("order"))
    at = moment_of(data, "timestamp", "at", default=state.updated_at)
    is_execution = event in FILL_EVENTS and state.symbol != OF_LEGS
    fill = _fill(data, state, at) if is_execution else None
    previous = text(data, "previous_execution_id")
    return TradeUpdate(
        event=event,
        order=state,
        fill=fill,
        at=at,
        previous_execution_id=ExecutionId(previous) if previous else None,
    )


def _fill(data: Row, state: BrokerOrder, at: dt.datetime) -> Fill:
    quantity, price = amount(data, "qty"), amount(data, "price")
    if not (quantity > 0 and price > 0 and state.filled_quantity >= quantity):
        raise DataError(f"order {state.broker_order_id}: an execution has impossible figures")
    # Without an id the order's total identifies the execution as well.
    fallback = f"{state.broker_order_id}:{state.filled_quantity}"
    return Fill(
        execution_id=ExecutionId(text(data, "execution_id") or fallback),
        broker_order_id=state.broker_order_id,
        client_order_id=state.client_order_id,
        symbol=state.symbol,
        side=state.side,
        quantity=quantity,
        price=price,
        cumulative_quantity=state.filled_quantity,
        at=at,
    )


def _fill_activity(data: Row) -> Activity:
    side = _side(data)
    quantity, price = abs(amount(data, "qty")), amount(data, "price")
    return Activity(
        activity_id=word(data, "id"),
        kind=ActivityKind.FILL,
        at=moment(data, "transaction_time"),
        net_amount=-side.sign * quantity * price,
        symbol=Symbol(word(data, "symbol")),
        broker_order_id=BrokerOrderId(word(data, "order_id")),
        side=side.value,
        quantity=quantity,
        price=price,
        cumulative_quantity=amount_or_none(data, "cum_qty"),
        description=text(data, "type"),
    )


def _other_activity(data: Row, kind: str) -> Activity:
    symbol, quantity = text(data, "symbol"), amount_or_none(data, "qty")
    description = text(data, "description")
    return Activity(
        activity_id=word(data, "id"),
        kind=_activity_kind(kind),
        at=_activity_moment(data, kind),
        net_amount=amount_or(data, "net_amount", ZERO),
        symbol=Symbol(symbol) if symbol else None,
        quantity=quantity,
        price=amount_or_none(data, "price"),
        fraction=_fraction(quantity, description) if kind in _SPLITS else None,
        description=" ".join(part for part in (kind, description) if part),
    )


def _fraction(added: Decimal | None, description: str) -> Decimal | None:
    """Return what a split made and did not give: "ADD, From QTY:-25, To QTY:2.5, ..." gave 2."""
    made = _MADE.match(description)
    if made is None or added is None:
        return None
    rest = Decimal(made["quantity"]) - added
    return rest if rest * added > 0 and abs(rest) < 1 else None


def _activity_kind(kind: str) -> ActivityKind:
    if kind.startswith("DIV"):
        return ActivityKind.DIVIDEND
    if kind.startswith("INT"):
        return ActivityKind.INTEREST
    if kind in _FEES:
        return ActivityKind.FEE
    if kind in _TRANSFERS:
        return ActivityKind.TRANSFER
    return ActivityKind.SPLIT if kind in _SPLITS else ActivityKind.OTHER


def _activity_moment(data: Row, kind: str) -> dt.datetime:
    # These rows are dated, not timed; the day is New York's.  Shares of a split are there when
    # its day begins to trade: who counted them in the night before has not counted those.
    time = _FIRST_TRADES if kind in _SPLITS else dt.time()
    day = text(data, "date")
    if not day:
        return moment_of(data, "transaction_time", "created_at")
    try:
        date = dt.date.fromisoformat(day[:10])
        return dt.datetime.combine(date, time, _NEW_YORK).astimezone(dt.UTC)
    except (ValueError, OverflowError) as exc:
        raise DataError("activity: date is not a date") from exc


def _date_or_none(data: Row, key: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text(data, key)[:10])
    except ValueError:
        return None


def _is_easy_to_borrow(data: Row) -> bool:
    # The boolean is being retired in favor of borrow_status; either may be missing.
    status = data.get("borrow_status")
    return status == "easy_to_borrow" if status is not None else data.get("easy_to_borrow") is True


def _side(data: Row) -> Side:
    side = _SIDES.get(word(data, "side"))
    if side is None:
        raise DataError(f"side {data.get('side')!r} is neither buy nor sell")
    return side
