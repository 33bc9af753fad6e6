"""Rows of the store as values, and values as columns."""

import datetime as dt
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter

from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.money import ZERO, decimal, text
from domain.orders import (
    EXTERNAL,
    BrokerOrder,
    Fill,
    OrderRequest,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from state.cost_basis import average

DISPLAY_PRICE_GRID = Decimal("0.000001")
REQUEST_COLUMNS = (
    "client_order_id",
    "session_date",
    "symbol",
    "side",
    "quantity",
    "order_type",
    "limit_price",
    "time_in_force",
    "strategy",
    "leg",
    "revision",
    "decision_price",
    "reason",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """One order as the journal knows it.

    ``filled_quantity`` is the broker's cumulative count, which never falls;
    ``booked_quantity`` is what the ledger has of it.  For an external order the request
    is the nearest description; a ``decision_price`` of 0 there means no price is known.
    """

    request: OrderRequest
    run_id: str | None
    state: OrderState
    broker_order_id: BrokerOrderId | None
    raw_status: str | None
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    booked_quantity: Decimal
    busted_quantity: Decimal
    reason: str
    attempts: int
    is_external: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    sent_at: dt.datetime | None
    acknowledged_at: dt.datetime | None

    @property
    def client_order_id(self) -> ClientOrderId:
        """Our id."""
        return self.request.client_order_id

    @property
    def symbol(self) -> Symbol:
        """Instrument."""
        return self.request.symbol

    @property
    def is_unsized(self) -> bool:
        """True when nobody knows its shares: an order of another for an amount of money."""
        return not self.request.quantity

    @property
    def leaves_quantity(self) -> Decimal:
        """Shares that may still be executed, never below 0."""
        return max(self.request.quantity - self.filled_quantity, ZERO)

    @property
    def missing_quantity(self) -> Decimal:
        """Shares that the broker executed and the ledger has not booked."""
        return max(self.filled_quantity - self.booked_quantity - self.busted_quantity, ZERO)


def stamp(at: dt.datetime) -> str:
    """Write a moment as RFC 3339 in UTC, always with microseconds, so that text sorts as time."""
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds")


def moment(written: str | None) -> dt.datetime | None:
    """Read a moment back."""
    return dt.datetime.fromisoformat(written) if written is not None else None


def known_moment(written: str) -> dt.datetime:
    """Read a moment that must be there."""
    return dt.datetime.fromisoformat(written)


def optional_decimal(written: str | None) -> Decimal | None:
    """Read a number that may be absent."""
    return decimal(written) if written is not None else None


def optional_text(value: Decimal | None) -> str | None:
    """Write a number that may be absent."""
    return text(value) if value is not None else None


# A run makes hundreds durable at once, and the plain ``.value`` of an enum is a call.
_AS_IT_IS = attrgetter(
    "client_order_id",
    "symbol",
    "side._value_",
    "order_type._value_",
    "time_in_force._value_",
    "strategy",
    "leg",
    "revision",
    "reason",
)


def request_values(request: OrderRequest) -> tuple[str | int | None, ...]:
    """Return the values of ``REQUEST_COLUMNS`` of an intent."""
    order_id, symbol, side, kind, in_force, strategy, leg, revision, reason = _AS_IT_IS(request)
    return (
        order_id,
        request.session_date.isoformat(),
        symbol,
        side,
        text(request.quantity),
        kind,
        optional_text(request.limit_price),
        in_force,
        strategy,
        leg,
        revision,
        text(request.decision_price),
        reason,
    )


def external_columns(order: BrokerOrder, session_date: dt.date) -> dict[str, str | int | None]:
    """Return the same as columns for an order that openbell did not send."""
    return {
        "client_order_id": order.client_order_id,
        "session_date": session_date.isoformat(),
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": text(order.quantity),
        "order_type": order.order_type,
        "limit_price": optional_text(order.limit_price),
        "time_in_force": order.time_in_force,
        "strategy": EXTERNAL,
        "leg": EXTERNAL,
        "revision": 0,
        "decision_price": text(order.limit_price or order.filled_avg_price or ZERO),
        "reason": "placed outside openbell",
    }


def order_record(row: sqlite3.Row) -> OrderRecord:
    """Read a row of ``orders``."""
    return OrderRecord(
        request=_request(row),
        run_id=row["run_id"],
        state=OrderState(row["state"]),
        broker_order_id=row["broker_order_id"],
        raw_status=row["raw_status"],
        filled_quantity=decimal(row["filled_quantity"]),
        filled_avg_price=filled_avg_price(row),
        booked_quantity=decimal(row["booked_quantity"]),
        busted_quantity=decimal(row["busted_quantity"]),
        reason=row["state_reason"],
        attempts=row["attempts"],
        is_external=bool(row["is_external"]),
        created_at=known_moment(row["created_at"]),
        updated_at=known_moment(row["updated_at"]),
        sent_at=moment(row["sent_at"]),
        acknowledged_at=moment(row["acknowledged_at"]),
    )


def filled_avg_price(row: sqlite3.Row) -> Decimal | None:
    """Return the average of the booked executions, or the broker's figure until all are booked."""
    booked = decimal(row["booked_quantity"])
    if booked and booked >= decimal(row["filled_quantity"]):
        return average(decimal(row["booked_notional"]), booked, places=DISPLAY_PRICE_GRID)
    return optional_decimal(row["filled_avg_price"])


def fill_of(row: sqlite3.Row) -> Fill:
    """Read a row of ``fills``."""
    return Fill(
        execution_id=ExecutionId(row["execution_id"]),
        broker_order_id=BrokerOrderId(row["broker_order_id"]),
        client_order_id=ClientOrderId(row["client_order_id"]),
        symbol=Symbol(row["symbol"]),
        side=Side(row["side"]),
        quantity=decimal(row["quantity"]),
        price=decimal(row["price"]),
        cumulative_quantity=decimal(row["cumulative_quantity"]),
        at=known_moment(row["at"]),
    )


def _request(row: sqlite3.Row) -> OrderRequest:
    limit_price = optional_decimal(row["limit_price"])
    is_limit = limit_price is not None
    return OrderRequest(
        client_order_id=ClientOrderId(row["client_order_id"]),
        strategy=row["strategy"],
        session_date=dt.date.fromisoformat(row["session_date"]),
        symbol=Symbol(row["symbol"]),
        side=Side(row["side"]),
        quantity=decimal(row["quantity"]),
        # An external order may be of a kind that openbell never sends, such as a stop.
        order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
        limit_price=limit_price,
        time_in_force=_time_in_force(row["time_in_force"]),
        leg=row["leg"],
        revision=row["revision"],
        decision_price=decimal(row["decision_price"]),
        reason=row["reason"],
    )


def _time_in_force(written: str) -> TimeInForce:
    return TimeInForce(written) if written in set(TimeInForce) else TimeInForce.DAY
