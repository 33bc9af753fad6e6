"""Does an order lower exposure, whatever else fills?  Pure."""

from collections.abc import Iterable
from decimal import Decimal

from domain.money import ZERO
from domain.orders import OrderRequest
from state.rows import OrderRecord


def reducible(ours: Decimal, theirs: Decimal | None) -> Decimal:
    """Return the signed shares that both books agree are held.

    Args:
        ours: quantity by the ledger.
        theirs: quantity by the broker where it differs, else None.
    """
    if theirs is None:
        return ours
    if ours * theirs <= 0:
        return ZERO
    return min(ours, theirs, key=abs)


def lowers_exposure(
    request: OrderRequest, *, held: Decimal, working: Iterable[OrderRecord]
) -> bool:
    """Tell whether the position cannot pass zero even if every working order fills first."""
    if held * request.side.sign >= 0:
        return False
    others = [
        record
        for record in working
        if record.symbol == request.symbol
        and record.request.side is request.side
        and record.client_order_id != request.client_order_id
    ]
    if any(record.is_unsized for record in others):
        return False
    leaves = sum((record.leaves_quantity for record in others), ZERO)
    return request.quantity + leaves <= abs(held)
