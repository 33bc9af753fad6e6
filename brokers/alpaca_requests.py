"""What we put on Alpaca's wire, checked by alpaca-py's own request models."""

import asyncio
import importlib
import json
import sys
from collections.abc import Mapping
from decimal import Decimal

from domain.errors import DataError
from domain.money import text
from domain.orders import OrderRequest, OrderType


async def load_models() -> None:
    """Import the SDK's models in a thread, once: it takes half a second of the event loop."""
    if "alpaca.trading.requests" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "alpaca.trading.requests")


def order_body(request: OrderRequest) -> bytes:
    """Return the body of the POST for one order.

    The SDK's model decides names and enum values and refuses nonsense; its floats do not
    reach the wire, quantity and price are written from our decimals.

    Raises:
        DataError: the SDK's model refuses the order.
    """
    # Imported here: the SDK takes half a second, and most commands send no order.
    from alpaca.trading import enums, requests  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        shared = {
            "symbol": request.symbol,
            "qty": float(request.quantity),
            "side": enums.OrderSide(request.side.value),
            "time_in_force": enums.TimeInForce(request.time_in_force.value),
            "client_order_id": request.client_order_id,
            "extended_hours": False,
        }
        model = (
            requests.MarketOrderRequest(**shared)
            if request.order_type is OrderType.MARKET
            else requests.LimitOrderRequest(**shared, limit_price=_float(request.limit_price))
        )
    except (ValidationError, ValueError) as exc:
        raise DataError(f"{request.symbol}: the SDK refuses the order ({exc})") from exc
    fields = model.to_request_fields()
    fields["qty"] = text(request.quantity)
    if request.limit_price is not None:
        fields["limit_price"] = text(request.limit_price)
    return json_body(fields)


def json_body(fields: Mapping[str, object]) -> bytes:
    """Write JSON for the wire; NaN cannot get in."""
    return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()


def _float(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
