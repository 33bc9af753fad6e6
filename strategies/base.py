"""The strategy port."""

from collections.abc import Sequence
from typing import Protocol

from domain.market import MarketView
from domain.signals import Signal


class Strategy(Protocol):
    """A decision rule: pure, synchronous, and blind to everything but the view."""

    @property
    def name(self) -> str:
        """Name in the configuration and in every signal."""

    def decide(self, view: MarketView) -> Sequence[Signal]:
        """Return at most one signal per symbol, in the order of the symbols."""
