"""What was traded and what it cost: each executed order with the wish and forecast behind it."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from domain.money import ZERO, cents, decimal, text
from reports.model import Row, Yardsticks
from risk.sizing import ENTRY, EXIT
from risk.stops import WATCH_RUN
from state.cost_basis import average, exact_sum
from state.rows import DISPLAY_PRICE_GRID

BPS = Decimal(10_000)


def with_slippage(fills: Sequence[Row], orders: Sequence[Row]) -> tuple[Row, ...]:
    """Put the decision price and the slippage against it beside every execution."""
    by_id = {order["client_order_id"]: order for order in orders}
    return tuple({**fill, **_of_fill(fill, by_id.get(fill["client_order_id"]))} for fill in fills)


def _of_fill(fill: Row, order: Row | None) -> Row:
    decided = _decided_at(order) if order is not None else None
    if order is None or decided is None:
        return {"decision_price": None, "slippage_bps": None}
    bps = slippage(order["side"], decimal(fill["price"]), decided)
    return {"decision_price": order["decision_price"], "slippage_bps": f"{bps:.1f}"}


def _decided_at(order: Row) -> Decimal | None:
    """Return the price that we decided on; None for an order from outside, or where none is known.

    A person's limit says how far the price might go, not where it was.
    """
    decided = decimal(order["decision_price"] or "0")
    return decided if decided > 0 and not order["is_external"] else None


def slippage(side: str, price: Decimal, decided: Decimal) -> Decimal:
    """Signed cost against the decision price in bps: above 0 is worse than decided on."""
    return (1 if side == "buy" else -1) * (price / decided - 1) * BPS


def trades(
    orders: Sequence[Row],
    fills: Sequence[Row],
    *,
    signals: Sequence[Row],
    forecasts: Sequence[Row],
    yardsticks: Yardsticks,
) -> tuple[Row, ...]:
    """Return a row for each order that was executed at least in part.

    ``fills`` are the executions that stand.  The order's own total is no help here: it keeps
    what the broker took back.
    """
    wishes = {row["symbol"]: row for row in signals}
    known = {row["symbol"]: row for row in forecasts}
    executed: dict[str, list[Row]] = defaultdict(list)
    for fill in fills:
        executed[fill["client_order_id"]].append(fill)
    return tuple(
        {
            **_execution(order, executed[order["client_order_id"]], yardsticks),
            **_wish(wishes.get(order["symbol"]) if _is_decided(order) else None),
            **_forecast(known.get(order["symbol"]) if _is_decided(order) else None, order),
        }
        for order in orders
        if order["client_order_id"] in executed
    )


def _is_decided(order: Row) -> bool:
    """Tell whether the session's decision is behind an order: a stop, a kill or a person is not."""
    is_stop = str(order.get("run_id") or "").endswith(f"-{WATCH_RUN}")
    return order["leg"] in {ENTRY, EXIT} and not order["is_external"] and not is_stop


def _execution(order: Row, fills: Sequence[Row], yardsticks: Yardsticks) -> Row:
    quantity = exact_sum(decimal(fill["quantity"]) for fill in fills)
    notional = exact_sum(decimal(fill["quantity"]) * decimal(fill["price"]) for fill in fills)
    price = average(notional, quantity, places=DISPLAY_PRICE_GRID)
    decided = _decided_at(order)
    row = {
        "client_order_id": order["client_order_id"],
        "symbol": order["symbol"],
        "side": order["side"],
        "leg": order["leg"],
        "quantity": text(quantity),
        "arrival_price": order["decision_price"] if decided is not None else None,
        "fill_price": text(price),
        "notional_usd": text(cents(notional)),
        "slippage_bps": None,
        "assumed_bps": text(yardsticks.slippage_bps),
        "slippage_usd": None,
    }
    if decided is not None:
        sign = 1 if order["side"] == "buy" else -1
        row["slippage_bps"] = f"{slippage(order['side'], price, decided):.1f}"
        row["slippage_usd"] = text(cents(sign * (notional - decided * quantity)))
    return row


def _wish(signal: Row | None) -> Row:
    if signal is None:
        return {"signal": None, "confidence": None, "strategies": ""}
    acting = sorted(p["strategy"] for p in signal["parts"] if p["action"] == signal["action"])
    return {
        "signal": signal["action"],
        "confidence": signal["confidence"],
        "strategies": ", ".join(acting),
    }


def _forecast(forecast: Row | None, order: Row) -> Row:
    if forecast is None:
        return {"forecast_source": None, "forecast_age_minutes": None, "forecast_confidence": None}
    age: float | None = None
    if order["sent_at"]:
        made, sent = (dt.datetime.fromisoformat(at) for at in (forecast["as_of"], order["sent_at"]))
        age = round((sent - made).total_seconds() / 60, 1)
    return {
        "forecast_source": forecast["source"],
        "forecast_age_minutes": age,
        "forecast_confidence": forecast["confidence"],
    }


def slippage_summary(rows: Sequence[Row]) -> Mapping[str, Decimal] | None:
    """Return mean slippage weighted by notional, the assumption, and the cost in USD."""
    measured = [row for row in rows if row["slippage_bps"] is not None]
    notional = sum((decimal(row["notional_usd"]) for row in measured), ZERO)
    if not notional > 0:
        return None
    weighted = sum(
        (decimal(row["slippage_bps"]) * decimal(row["notional_usd"]) for row in measured), ZERO
    )
    return {
        "mean_bps": weighted / notional,
        "assumed_bps": decimal(measured[0]["assumed_bps"]),
        "cost_usd": sum((decimal(row["slippage_usd"]) for row in measured), ZERO),
    }
