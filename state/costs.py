"""What the services cost: GPU hours, inference calls."""

import datetime as dt
from decimal import Decimal

from domain.errors import DataError
from domain.money import decimal, text
from state.cost_basis import exact_sum
from state.rows import stamp
from state.store import Store


class Costs:
    """Bookings against the budgets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def book(self, provider: str, amount_usd: Decimal, at: dt.datetime, detail: str = "") -> None:
        """Book a cost, USD, 0 or above.

        Raises:
            DataError: the amount is negative or not finite.
        """
        if not (amount_usd.is_finite() and amount_usd >= 0):
            raise DataError(f"cost {amount_usd} of {provider} must be 0 or above")
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO costs (at, provider, amount_usd, detail) VALUES (?, ?, ?, ?)",
                (stamp(at), provider, text(amount_usd), detail),
            )

    def spent(self, provider: str | None, start: dt.datetime, end: dt.datetime) -> Decimal:
        """Return what ``[start, end)`` cost, for one provider or all."""
        rows = self._store.rows(
            "SELECT amount_usd FROM costs WHERE at >= ? AND at < ?"
            " AND provider = coalesce(?, provider)",
            (stamp(start), stamp(end), provider),
        )
        return exact_sum(decimal(row["amount_usd"]) for row in rows)
