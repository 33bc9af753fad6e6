"""Average-cost arithmetic: what a trade does to shares, cost and realized profit.

Exact by construction.  The only quotient, the cost of the shares sold, is rounded to
``COST_GRID``, and the rest of the cost keeps the difference: so cash, cost and profit
always add up, to the last digit, whatever the average is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, localcontext

from domain.money import ZERO

COST_GRID = Decimal("1e-12")
SHARE_GRID = Decimal("1e-9")

# Wide enough for any product and sum below; a result that is still not exact is a bug.
_EXACT = Context(prec=120, traps=[Inexact])
_ROUNDING = Context(prec=120, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares and what they cost in total, both signed; short is below 0."""

    quantity: Decimal = ZERO
    total_cost: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one entry adds; ``realized_pnl == cash + cost - in_kind`` always."""

    quantity: Decimal = ZERO
    cash: Decimal = ZERO
    cost: Decimal = ZERO
    in_kind: Decimal = ZERO
    realized_pnl: Decimal = ZERO


def trade(holding: Holding, quantity: Decimal, price: Decimal) -> Change:
    """Trade signed shares for cash: close first, then open the rest at the price.

    A cost that a split left without a share is lost, and no part of what is opened.
    """
    with localcontext(_EXACT):
        closing = _closing_part(holding.quantity, quantity)
        released = _released_cost(holding, closing)
        cost = (quantity - closing) * price - released
        cash = -quantity * price
        return Change(quantity=quantity, cash=cash, cost=cost, realized_pnl=cash + cost)


def adopt(holding: Holding, quantity: Decimal, price: Decimal) -> Change:
    """Take over signed shares without cash: a trade whose money went elsewhere."""
    traded = trade(holding, quantity, price)
    with localcontext(_EXACT):
        return Change(
            quantity=quantity,
            cost=traded.cost,
            in_kind=-traded.cash,
            realized_pnl=traded.realized_pnl,
        )


def give_back(holding: Holding, adopted: Change, shares: Decimal) -> Change:
    """Undo the part of an adoption that ``shares`` are; it realizes what that part realized."""
    # An adoption is worth an exact product of quantity and a price, so this quotient terminates.
    price = adopted.in_kind / adopted.quantity
    in_kind = exact_product(-shares, price)
    with localcontext(_ROUNDING):
        cost = (adopted.cost * -shares / adopted.quantity).quantize(COST_GRID)
    quantity_after = exact_sum((holding.quantity, -shares))
    cost_after = exact_sum((holding.total_cost, cost))
    if quantity_after * cost_after < 0:
        # Trades since have used that part up: the rest goes by the price alone.
        return adopt(holding, -shares, price)
    realized = exact_sum((cost, -in_kind))
    return Change(quantity=-shares, cost=cost, in_kind=in_kind, realized_pnl=realized)


def pay_fraction(holding: Holding, cash: Decimal) -> Change:
    """Take cash for a fraction of which nobody said how much of a share it was.

    It cost what it brings, as far as that is what less than a share cost; the cost of shares
    that are no more is all of it.
    """
    released = holding.total_cost
    if holding.quantity:
        with localcontext(_ROUNDING):
            most = (holding.total_cost / (abs(holding.quantity) + 1)).quantize(COST_GRID)
        is_due = cash * holding.quantity > 0 and cash * most > 0
        released = min(cash, most, key=abs) if is_due else ZERO
    return Change(cash=cash, cost=-released, realized_pnl=exact_sum((cash, -released)))


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Add without rounding, whatever the context of the caller."""
    with localcontext(_EXACT):
        return sum(values, ZERO)


def exact_product(one: Decimal, other: Decimal) -> Decimal:
    """Multiply without rounding, whatever the context of the caller."""
    with localcontext(_EXACT):
        return one * other


def average(total: Decimal, quantity: Decimal, *, places: Decimal = SHARE_GRID) -> Decimal:
    """Return ``total / quantity`` rounded for display; 0 when flat."""
    if quantity == 0:
        return ZERO
    with localcontext(_ROUNDING):
        return (total / quantity).quantize(places)


def _closing_part(held: Decimal, quantity: Decimal) -> Decimal:
    if held * quantity >= 0:
        return ZERO
    return quantity if abs(quantity) <= abs(held) else -held


def _released_cost(holding: Holding, closing: Decimal) -> Decimal:
    if closing == -holding.quantity:
        return holding.total_cost
    if closing == 0:
        return ZERO
    with localcontext(_ROUNDING):
        share = holding.total_cost * -closing / holding.quantity
        return share.quantize(COST_GRID)
