"""Small makers of orders, executions and stores for tests of the state room."""

import dataclasses
import datetime as dt
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.account import Activity, ActivityKind
from domain.clock import ManualClock
from domain.decisions import GateResult, LimitCheck
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.orders import BrokerOrder, Fill, OrderRequest, OrderState, OrderType, Side, TimeInForce
from state.ledger import Ledger
from state.retention import Retention, prune_records
from state.store import Store

START = dt.datetime(2022, 12, 14, 13, 0, tzinfo=dt.UTC)
SESSION = dt.date(2022, 12, 14)
AAPL = Symbol("AAPL")
OB1 = ClientOrderId("ob-1")


def open_store(directory: Path, clock: ManualClock | None = None) -> Store:
    return Store.open(directory, clock=clock or ManualClock(START))


def pruned(store: Store, retention: Retention, now: dt.datetime) -> Counter[str]:
    """Prune; return how many rows of each table went."""
    deleted: Counter[str] = Counter()
    for table, count in prune_records(store, retention, now):
        deleted[table] += count
    return deleted


def whole_table(table: str) -> str:
    return f"SELECT * FROM {table}"  # noqa: S608 - a name written in a test


def a_request(order_id: str = "ob-1", **changes: Any) -> OrderRequest:
    request = OrderRequest(
        client_order_id=ClientOrderId(order_id),
        strategy="book",
        session_date=SESSION,
        symbol=AAPL,
        side=Side.BUY,
        quantity=Decimal(100),
        order_type=OrderType.LIMIT,
        limit_price=Decimal("143.21"),
        time_in_force=TimeInForce.DAY,
        leg="entry",
        revision=0,
        decision_price=Decimal("143.10"),
        reason="forecast up",
    )
    return dataclasses.replace(request, **changes)


def approved(order_id: str = "ob-1", **changes: Any) -> GateResult:
    check = LimitCheck(limit="max_position_pct", passed=True, figure="4.2", bound="10")
    return GateResult(request=a_request(order_id, **changes), checks=(check,))


def denied(order_id: str = "ob-1", **changes: Any) -> GateResult:
    checks = (
        LimitCheck(limit="max_position_pct", passed=True, figure="4.2", bound="10"),
        LimitCheck(limit="price_collar", passed=False, figure="7", bound="5", detail="too far"),
    )
    return GateResult(request=a_request(order_id, **changes), checks=checks)


def a_broker_order(order_id: str = "ob-1", **changes: Any) -> BrokerOrder:
    order = BrokerOrder(
        broker_order_id=BrokerOrderId(f"b-{order_id}"),
        client_order_id=ClientOrderId(order_id),
        symbol=AAPL,
        side=Side.BUY,
        quantity=Decimal(100),
        order_type="limit",
        limit_price=Decimal("143.21"),
        time_in_force="day",
        state=OrderState.LIVE,
        raw_status="new",
        filled_quantity=Decimal(0),
        filled_avg_price=None,
        submitted_at=START,
        updated_at=START,
    )
    return dataclasses.replace(order, **changes)


def a_fill(
    execution: str = "x-1",
    quantity: str = "100",
    price: str = "143.20",
    cumulative: str | None = None,
    **changes: Any,
) -> Fill:
    fill = Fill(
        execution_id=ExecutionId(execution),
        broker_order_id=BrokerOrderId("b-ob-1"),
        client_order_id=ClientOrderId("ob-1"),
        symbol=AAPL,
        side=Side.BUY,
        quantity=Decimal(quantity),
        price=Decimal(price),
        cumulative_quantity=Decimal(cumulative or quantity),
        at=START + dt.timedelta(hours=2),
    )
    return dataclasses.replace(fill, **changes)


def an_activity(kind: ActivityKind, amount: str = "0", **fields: object) -> Activity:
    values: dict[str, object] = {"activity_id": f"a-{kind}", "at": START, **fields}
    return Activity(kind=kind, net_amount=Decimal(amount), **values)  # type: ignore[arg-type]


def four_for_one(ledger: Ledger) -> None:
    added = 3 * ledger.position(AAPL).quantity
    split = an_activity(ActivityKind.SPLIT, symbol=AAPL, quantity=added, activity_id="s-1")
    ledger.apply_activity(split)
