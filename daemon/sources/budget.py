"""Budgets of the paid services: asked before a call, booked with it."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

from daemon.config import CostsConfig
from domain.clock import Clock
from domain.money import cents
from state.costs import Costs
from state.store import Store

GPU = "gpu"


class ForecastBudget:
    """The CallBudget of remote forecasts: by day for the GPU, by month for everything."""

    def __init__(
        self,
        store: Store,
        limits: CostsConfig,
        *,
        clock: Clock,
        note: Callable[[str, str], None] | None = None,
    ) -> None:
        """Take the limits; ``note`` is told once a day when one stops the calls."""
        self._costs = Costs(store)
        self._per_call = Decimal(repr(limits.gpu_usd_per_call))
        self._daily = Decimal(repr(limits.gpu_daily_budget_usd))
        self._monthly = Decimal(repr(limits.monthly_budget_usd))
        self._clock = clock
        self._note = note
        self._noted_on: dt.date | None = None

    def refusal(self, symbols: int) -> str | None:
        """Tell why a call must not be made, or None."""
        problem = self._problem()
        today = self._clock.now().date()
        if problem is not None and self._note is not None and self._noted_on != today:
            self._noted_on = today
            self._note("budget.exhausted", f"{problem}; the local model answers")
        return problem

    def _problem(self) -> str | None:
        now = self._clock.now()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        today = self._costs.spent(GPU, day, day + dt.timedelta(days=1)) + self._per_call
        month = self._costs.spent(None, day.replace(day=1), now) + self._per_call
        # Written so that a figure that cannot be compared refuses.
        if not today <= self._daily:
            return f"today's GPU cost would be {cents(today)} USD, the budget is {self._daily}"
        if not month <= self._monthly:
            return f"this month's cost would be {cents(month)} USD, the budget is {self._monthly}"
        return None

    def book(self, symbols: int) -> None:
        """Book one call."""
        if self._per_call > 0:
            self._costs.book(GPU, self._per_call, self._clock.now(), f"{symbols} symbols")
