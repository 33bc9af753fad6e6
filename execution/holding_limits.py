"""Is a holding that nobody planned too large?  Asked when shares came that no gate let pass."""

from decimal import Decimal

from domain.ids import Symbol
from domain.money import ZERO, text
from domain.orders import Side
from risk.context import is_known
from risk.settings import RiskLimits
from state.equity import EquityCurve
from state.holdings import LedgerPosition
from state.journal import Journal
from state.ledger import Ledger
from state.rows import OrderRecord

_HUNDRED = Decimal(100)


class HoldingLimits:
    """The limits of one symbol and of all, on what is held and what may still come to it.

    The gate let orders pass for what was held then; with shares that nobody planned they may
    be too much.  ``equity`` is what the account showed when its books were opened, in USD: it
    counts until the curve has a figure of its own.
    """

    def __init__(
        self,
        limits: RiskLimits,
        *,
        curve: EquityCurve,
        ledger: Ledger,
        journal: Journal,
        equity: Decimal | None = None,
    ) -> None:
        self._limits = limits
        self._curve = curve
        self._ledger = ledger
        self._journal = journal
        self._opening_equity = equity

    def over(self, symbol: Symbol, price: Decimal | None = None) -> str:
        """Return which limit the holding breaks, in words; empty when none.

        Args:
            symbol: what was filled.
            price: USD a share; None for what the holding cost on average.
        """
        held = self._ledger.positions()
        if symbol not in held:
            return ""
        equity = self._curve.last() or self._opening_equity
        if equity is None or not is_known(equity):
            return "the account's equity is unknown"
        values = {name: abs(one.total_cost) for name, one in held.items()}
        if price is not None:
            values[symbol] = abs(held[symbol].quantity * price)
        values[symbol] += self._to_come(held[symbol])
        return _broken(
            "position", values[symbol], equity, self._limits.max_position_pct
        ) or _broken("gross", sum(values.values(), ZERO), equity, self._limits.max_gross_pct)

    def _to_come(self, held: LedgerPosition) -> Decimal:
        """USD that orders at work may add, and executions that are not booked yet."""
        side = Side.BUY if held.quantity > 0 else Side.SELL
        records = {
            record.client_order_id: record
            for record in (*self._journal.working(), *self._journal.incomplete())
            if record.symbol == held.symbol and record.request.side is side
        }
        return sum(
            (
                _to_be_booked(record) * (record.request.worst_price or held.avg_price)
                for record in records.values()
            ),
            ZERO,
        )


def _to_be_booked(record: OrderRecord) -> Decimal:
    leaves = ZERO if record.state.is_terminal else record.leaves_quantity
    return leaves + record.missing_quantity


def _broken(name: str, value: Decimal, equity: Decimal, limit_pct: Decimal) -> str:
    share = value * _HUNDRED / equity
    if share <= limit_pct:
        return ""
    return f"{name} is {share:.2f} % of equity, the limit is {text(limit_pct)} %"
