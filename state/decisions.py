"""Decisions: what a run saw, wished and combined, kept so that it can be explained."""

from collections.abc import Sequence

from domain.decisions import CombinedSignal
from domain.market import MarketView
from domain.signals import Signal
from state.store import Store


class Decisions:
    """Stores one decision per run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        run_id: str,
        view: MarketView,
        signals: Sequence[Signal],
        combined: Sequence[CombinedSignal],
    ) -> str:
        """Store the decision of a run, replacing an earlier one; return the view's hash."""
        raise NotImplementedError


def view_hash(view: MarketView) -> str:
    """Return the SHA-256 of everything the decision could know, in a fixed order."""
    raise NotImplementedError
