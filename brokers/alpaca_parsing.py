"""Alpaca's JSON into our words.

Tolerant where a server may grow (unknown fields, new statuses, retired fields) and
strict where a wrong value would cost money: numbers, ids, sides, times.  Everything
here raises DataError and nothing else.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from zoneinfo import ZoneInfo

from domain.account import Account, Activity, ActivityKind, Asset, MarketClock, Position
from domain.errors import DataError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.market import Session
from domain.money import ZERO, decimal
from domain.orders import BrokerOrder, Fill, OrderState, Side, TradeUpdate

Row = Mapping[str, object]

FILL_EVENTS = frozenset({"fill", "partial_fill"})

_NEW_YORK = ZoneInfo("America/New_York")
_REGULAR_SESSION = dt.timedelta(hours=6, minutes=30)
_LARGEST_MAGNITUDE = 15
_SMALLEST_EXPONENT = -30
_LONGEST_WORD = 128

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
_SIDES: Mapping[str, Side] = {"buy": Side.BUY, "sell": Side.SELL, "sell_short": Side.SELL}
_TRANSFERS = frozenset({"CSD", "CSW", "CSR", "ACATC", "ACATS", "JNL", "JNLC", "JNLS", "TRANS"})
_FEES = frozenset({"FEE", "CFEE", "PTC", "PTR"})
_SPLITS = frozenset({"SPLIT", "SSP", "FSPLIT", "RSPLIT"})


def row(raw: object, *, what: str) -> Row:
    """Return a JSON object."""
    if not isinstance(raw, dict):
        raise DataError(f"{what}: a JSON object was expected, not {type(raw).__name__}")
    return raw


def rows(raw: object, *, what: str) -> tuple[Row, ...]:
    """Return a JSON array of objects."""
    if not isinstance(raw, list):
        raise DataError(f"{what}: a JSON array was expected, not {type(raw).__name__}")
    return tuple(row(item, what=what) for item in raw)


def is_known_status(status: str) -> bool:
    """Tell whether an order status was known when this was written."""
    return status in _STATES or status in _LIVE_STATUSES


def account(raw: object) -> Account:
    """Parse balances and flags; a flag that is not plainly off counts as on."""
    data = row(raw, what="account")
    status = _word(data, "status")
    equity = _amount(data, "equity")
    flags = [data.get(key, False) for key in ("trading_blocked", "account_blocked")]
    return Account(
        account_number=_word(data, "account_number"),
        status=status,
        equity=equity,
        last_equity=_amount_or(data, "last_equity", equity),
        cash=_amount(data, "cash"),
        buying_power=_amount(data, "buying_power"),
        is_trading_blocked=status != "ACTIVE" or any(flag is not False for flag in flags),
        is_suspended_by_user=data.get("trade_suspended_by_user", False) is not False,
    )


def held_value(raw: object) -> Decimal:
    """Return the gross value of all holdings that the account itself reports, USD."""
    data = row(raw, what="account")
    if data.get("long_market_value") is None:
        return abs(_amount(data, "equity") - _amount(data, "cash"))
    long_value = abs(_amount(data, "long_market_value"))
    return long_value + abs(_amount_or(data, "short_market_value", ZERO))


def market_clock(raw: object) -> MarketClock:
    """Parse the broker's clock."""
    data = row(raw, what="clock")
    is_open = data.get("is_open")
    if not isinstance(is_open, bool):
        raise DataError("clock: is_open is not true or false")
    return MarketClock(
        now=_moment(data, "timestamp"),
        is_open=is_open,
        next_open=_moment(data, "next_open"),
        next_close=_moment(data, "next_close"),
    )


def session(raw: object) -> Session:
    """Parse one calendar row; its times are New York's."""
    data = row(raw, what="calendar")
    try:
        date = dt.date.fromisoformat(_word(data, "date"))
        opens, closes = (dt.time.fromisoformat(_word(data, key)) for key in ("open", "close"))
    except ValueError as exc:
        raise DataError(f"calendar: {exc}") from exc
    open_at = dt.datetime.combine(date, opens, tzinfo=_NEW_YORK).astimezone(dt.UTC)
    close_at = dt.datetime.combine(date, closes, tzinfo=_NEW_YORK).astimezone(dt.UTC)
    if not open_at < close_at:
        raise DataError(f"calendar: session {date} closes before it opens")
    is_half_day = close_at - open_at < _REGULAR_SESSION
    return Session(date=date, open=open_at, close=close_at, is_half_day=is_half_day)


def asset(raw: object) -> Asset:
    """Parse what is allowed for a symbol; what is not said is not allowed."""
    data = row(raw, what="asset")
    is_active = data.get("status") == "active"
    return Asset(
        symbol=Symbol(_word(data, "symbol")),
        is_tradable=is_active and data.get("tradable") is True,
        is_shortable=is_active and data.get("shortable") is True and _is_easy_to_borrow(data),
        is_fractionable=data.get("fractionable") is True,
    )


def position(raw: object) -> Position:
    """Parse one holding; short quantities are negative on the wire too, but not always."""
    data = row(raw, what="position")
    quantity = _amount(data, "qty")
    if data.get("side") == "short":
        quantity = -abs(quantity)
    return Position(
        symbol=Symbol(_word(data, "symbol")),
        quantity=quantity,
        avg_entry_price=_amount(data, "avg_entry_price"),
        market_price=_amount_or_none(data, "current_price"),
    )


def order(raw: object) -> BrokerOrder:
    """Parse an order; a status we do not know is LIVE, with the broker's word kept."""
    data = row(raw, what="order")
    order_id = _word(data, "id")
    status = _word(data, "status")
    filled = _amount_or(data, "filled_qty", ZERO)
    submitted = _moment_of(data, "submitted_at", "created_at")
    quantity = _amount_or(data, "qty", filled)
    if filled < 0 or quantity < 0:
        raise DataError(f"order {order_id}: a quantity is negative")
    return BrokerOrder(
        broker_order_id=BrokerOrderId(order_id),
        client_order_id=ClientOrderId(_word(data, "client_order_id")),
        symbol=Symbol(_word(data, "symbol")),
        side=_side(data),
        quantity=quantity,
        order_type=_text(data, "type") or _text(data, "order_type"),
        limit_price=_amount_or_none(data, "limit_price"),
        time_in_force=_text(data, "time_in_force"),
        state=_STATES.get(status, OrderState.LIVE),
        raw_status=status,
        filled_quantity=filled,
        filled_avg_price=_amount_or_none(data, "filled_avg_price"),
        submitted_at=submitted,
        updated_at=_moment_of(data, "updated_at", default=submitted),
    )


def activity(raw: object) -> Activity:
    """Parse one row of the activity log: a fill, or money and shares that moved otherwise."""
    data = row(raw, what="activity")
    kind = _word(data, "activity_type")
    return _fill_activity(data) if kind == "FILL" else _other_activity(data, kind)


def trade_update(raw: object) -> TradeUpdate:
    """Parse the ``data`` of a trade_updates message.

    Only ``fill`` and ``partial_fill`` carry a Fill: a bust or a correction changes a past
    execution, and the activity log is read for that.
    """
    data = row(raw, what="trade update")
    event = _word(data, "event")
    state = order(data.get("order"))
    at = _moment_of(data, "timestamp", "at", default=state.updated_at)
    fill = _fill(data, state, at) if event in FILL_EVENTS else None
    return TradeUpdate(event=event, order=state, fill=fill, at=at)


def _fill(data: Row, state: BrokerOrder, at: dt.datetime) -> Fill:
    quantity, price = _amount(data, "qty"), _amount(data, "price")
    if not (quantity > 0 and price > 0 and state.filled_quantity >= quantity):
        raise DataError(f"order {state.broker_order_id}: an execution has impossible figures")
    # Without an id the order's total identifies the execution as well.
    fallback = f"{state.broker_order_id}:{state.filled_quantity}"
    return Fill(
        execution_id=ExecutionId(_text(data, "execution_id") or fallback),
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
    quantity, price = abs(_amount(data, "qty")), _amount(data, "price")
    return Activity(
        activity_id=_word(data, "id"),
        kind=ActivityKind.FILL,
        at=_moment(data, "transaction_time"),
        net_amount=-side.sign * quantity * price,
        symbol=Symbol(_word(data, "symbol")),
        broker_order_id=BrokerOrderId(_word(data, "order_id")),
        side=side.value,
        quantity=quantity,
        price=price,
        cumulative_quantity=_amount_or_none(data, "cum_qty"),
        description=_text(data, "type"),
    )


def _other_activity(data: Row, kind: str) -> Activity:
    symbol = _text(data, "symbol")
    return Activity(
        activity_id=_word(data, "id"),
        kind=_activity_kind(kind),
        at=_activity_moment(data),
        net_amount=_amount_or(data, "net_amount", ZERO),
        symbol=Symbol(symbol) if symbol else None,
        quantity=_amount_or_none(data, "qty"),
        price=_amount_or_none(data, "price"),
        description=" ".join(part for part in (kind, _text(data, "description")) if part),
    )


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


def _activity_moment(data: Row) -> dt.datetime:
    # These rows are dated, not timed; the day is New York's.
    day = _text(data, "date")
    if not day:
        return _moment_of(data, "transaction_time", "created_at")
    try:
        midnight = dt.datetime.combine(dt.date.fromisoformat(day[:10]), dt.time(), _NEW_YORK)
    except ValueError as exc:
        raise DataError(f"activity: {day!r} is not a date") from exc
    return midnight.astimezone(dt.UTC)


def _is_easy_to_borrow(data: Row) -> bool:
    # The boolean is being retired in favor of borrow_status; either may be missing.
    status = data.get("borrow_status")
    return status == "easy_to_borrow" if status is not None else data.get("easy_to_borrow") is True


def _side(data: Row) -> Side:
    side = _SIDES.get(_word(data, "side"))
    if side is None:
        raise DataError(f"side {data.get('side')!r} is neither buy nor sell")
    return side


def _word(data: Row, key: str) -> str:
    value = data.get(key)
    if not (isinstance(value, str) and value and len(value) <= _LONGEST_WORD):
        raise DataError(f"{key} is missing or not a short text")
    return value


def _text(data: Row, key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _amount(data: Row, key: str) -> Decimal:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise DataError(f"{key} is missing or not a number")
    try:
        number = decimal(value)
    except DataError as exc:
        raise DataError(f"{key}: {exc}") from exc
    exponent = number.as_tuple().exponent
    if number.adjusted() > _LARGEST_MAGNITUDE or not (
        isinstance(exponent, int) and exponent >= _SMALLEST_EXPONENT
    ):
        raise DataError(f"{key} is out of range")
    return number


def _amount_or(data: Row, key: str, default: Decimal) -> Decimal:
    return default if data.get(key) is None else _amount(data, key)


def _amount_or_none(data: Row, key: str) -> Decimal | None:
    return None if data.get(key) is None else _amount(data, key)


def _moment(data: Row, key: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(_word(data, key))
    except ValueError as exc:
        raise DataError(f"{key} is not a time") from exc
    if moment.tzinfo is None:
        raise DataError(f"{key} has no time zone")
    return moment.astimezone(dt.UTC)


def _moment_of(data: Row, *keys: str, default: dt.datetime | None = None) -> dt.datetime:
    for key in keys:
        if data.get(key) is not None:
            return _moment(data, key)
    if default is None:
        raise DataError(f"{keys[0]} is missing")
    return default
