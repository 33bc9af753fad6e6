"""Snapshots of equity and holdings, for plots and for the figures of ``status``."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from domain.account import Position
from state.store import Store


class EquityCurve:
    """Points of the equity and position plots."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        at: dt.datetime,
        *,
        session_date: dt.date,
        equity: Decimal,
        cash: Decimal,
        positions: Sequence[Position] = (),
    ) -> None:
        """Store one point, replacing one of the same moment."""
        raise NotImplementedError

    def between(
        self, start: dt.datetime, end: dt.datetime
    ) -> tuple[tuple[dt.datetime, Decimal], ...]:
        """Return the points of ``[start, end)``, oldest first."""
        raise NotImplementedError
