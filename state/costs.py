"""What the services cost: GPU hours, inference calls."""

import datetime as dt
from decimal import Decimal

from state.store import Store


class Costs:
    """Bookings against the budgets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def book(self, provider: str, amount_usd: Decimal, at: dt.datetime, detail: str = "") -> None:
        """Book a cost, USD, 0 or above."""
        raise NotImplementedError

    def spent(self, provider: str | None, start: dt.datetime, end: dt.datetime) -> Decimal:
        """Return what ``[start, end)`` cost, for one provider or all."""
        raise NotImplementedError
