"""Comparing our books with the broker's reports: pure functions on frozen values."""

from domain.orders import BrokerOrder, OrderRequest
from state.rows import OrderRecord


def mismatches(request: OrderRequest, order: BrokerOrder) -> tuple[str, ...]:
    """Name every field in which the broker's order is not the one we asked for."""
    pairs = {
        "client_order_id": (request.client_order_id, order.client_order_id),
        "symbol": (request.symbol, order.symbol),
        "side": (request.side, order.side),
        "quantity": (request.quantity, order.quantity),
        "type": (request.order_type.value, order.order_type),
        "limit_price": (request.limit_price, order.limit_price),
        "time_in_force": (request.time_in_force.value, order.time_in_force),
    }
    return tuple(
        f"{name} {theirs} instead of {ours}"
        for name, (ours, theirs) in pairs.items()
        if ours != theirs
    )


def regression(record: OrderRecord, order: BrokerOrder) -> str | None:
    """Tell how a report is older than what we know, or None when it is not."""
    # Shares that the broker took back by name, it may leave out of the total.
    standing = record.filled_quantity - record.busted_quantity
    if order.filled_quantity < standing:
        return f"filled quantity fell from {record.filled_quantity} to {order.filled_quantity}"
    if record.state.is_terminal and not order.state.is_terminal:
        return f"state went back from {record.state.value} to {order.raw_status}"
    return None
