"""The neurons of the day, kept in the state, so that a restart does not forget them."""

import datetime as dt
import json
import math
from decimal import Decimal

from domain.clock import Clock
from state.costs import Costs
from state.facts import Facts
from state.store import Store

WORKERS_AI = "workers_ai"
# Cloudflare's allocation of each UTC day.
FREE_NEURONS = 10_000.0

_FACT = "workers_ai_neurons"


class NeuronLedger:
    """A NeuronBook over the state; what is beyond the free allocation is booked in USD."""

    def __init__(self, store: Store, *, usd_per_thousand: float, clock: Clock) -> None:
        self._facts = Facts(store)
        self._costs = Costs(store)
        self._price = Decimal(repr(usd_per_thousand)) / 1000
        self._clock = clock

    def spent(self, day: dt.date) -> float:
        """Return the neurons booked for a UTC day."""
        try:
            noted = json.loads(self._facts.get(_FACT) or "{}")
            neurons = float(noted["neurons"]) if noted.get("day") == day.isoformat() else 0.0
        except (ValueError, TypeError, KeyError, AttributeError):
            # Nobody knows what was spent: the free part of the day counts as gone.
            return FREE_NEURONS
        return neurons if math.isfinite(neurons) and neurons >= 0 else FREE_NEURONS

    def book(self, day: dt.date, neurons: float) -> None:
        """Add to a day."""
        before = self.spent(day)
        after = before + neurons
        self._facts.put(**{_FACT: json.dumps({"day": day.isoformat(), "neurons": after})})
        paid = max(0.0, after - FREE_NEURONS) - max(0.0, before - FREE_NEURONS)
        amount = Decimal(repr(paid)) * self._price
        if amount > 0:
            self._costs.book(WORKERS_AI, amount, self._clock.now(), f"{paid:.1f} neurons")
