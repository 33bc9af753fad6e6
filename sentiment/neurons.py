"""The daily budget of neurons, Cloudflare's unit of cost.

Cost is reserved before a call, for what it could take at most, and booked after it, for
what the service said it took.  The day ends at midnight UTC.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from domain.clock import Clock
from domain.errors import ProviderUnavailable

_MILLION = 1_000_000
_CHARACTERS_PER_TOKEN = 3
_TOKENS_AROUND = 50


class BudgetSpent(ProviderUnavailable):
    """The call was not made: it could exceed the day's neurons."""

    is_outage = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronRates:
    """Price of a model, in neurons per million tokens in and out."""

    tokens_in: float
    tokens_out: float


class NeuronBook(Protocol):
    """Where spending is kept; a restart must not forget it."""

    def spent(self, day: dt.date) -> float:
        """Return the neurons booked for a UTC day."""

    def book(self, day: dt.date, neurons: float) -> None:
        """Add to a day."""


class MemoryNeuronBook:
    """A book that is forgotten with the process."""

    def __init__(self) -> None:
        self._days: dict[dt.date, float] = {}

    def spent(self, day: dt.date) -> float:
        """Return the neurons booked for a UTC day."""
        return self._days.get(day, 0.0)

    def book(self, day: dt.date, neurons: float) -> None:
        """Add to a day."""
        self._days[day] = self.spent(day) + neurons


class NeuronBudget:
    """Says whether one more call may be paid for."""

    def __init__(self, *, daily: float, rates: NeuronRates, book: NeuronBook, clock: Clock) -> None:
        self._daily = daily
        self._rates = rates
        self._book = book
        self._clock = clock
        self._reserved = 0.0

    def reserve(self, *, characters: int, max_tokens: int) -> float:
        """Set aside the most that one call can cost.

        Raises:
            BudgetSpent: that would exceed the day's budget.
        """
        tokens_in = characters / _CHARACTERS_PER_TOKEN + _TOKENS_AROUND
        cost = self._cost(tokens_in, max_tokens)
        spent = self._book.spent(self._today())
        if not spent + self._reserved + cost <= self._daily:
            raise BudgetSpent(
                f"Workers AI: {spent:.0f} of {self._daily:.0f} neurons are spent today;"
                " raise sentiment.cloudflare.daily_neuron_budget or wait for midnight UTC"
            )
        self._reserved += cost
        return cost

    def settle(self, reserved: float, usage: object) -> None:
        """Book a call by what the service said, else by what was reserved."""
        self._reserved = max(0.0, self._reserved - reserved)
        said = self._said(usage)
        self._book.book(self._today(), reserved if said is None else said)

    def release(self, reserved: float) -> None:
        """Take a reservation back: nothing left this machine."""
        self._reserved = max(0.0, self._reserved - reserved)

    def _said(self, usage: object) -> float | None:
        if not isinstance(usage, Mapping):
            return None
        neurons = _number(usage.get("neurons"))
        if neurons is not None:
            return neurons
        tokens_in = _number(usage.get("prompt_tokens"))
        tokens_out = _number(usage.get("completion_tokens"))
        if tokens_in is None or tokens_out is None:
            return None
        return self._cost(tokens_in, tokens_out)

    def _cost(self, tokens_in: float, tokens_out: float) -> float:
        rates = self._rates
        return (tokens_in * rates.tokens_in + tokens_out * rates.tokens_out) / _MILLION

    def _today(self) -> dt.date:
        return self._clock.now().date()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
