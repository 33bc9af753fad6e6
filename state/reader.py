"""Reads the state for the command line and the web: the public JSON shapes.

Starts fast: the standard library and ``domain`` only.
"""

import datetime as dt
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Reader:
    """A read-only view, beside a running daemon or without one; a context manager."""

    def __init__(self, directory: Path) -> None:
        """Open the database.

        Raises:
            StateError: there is none, or it cannot be read.
        """
        self._directory = directory

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError

    def status(self) -> Row:
        """Return the ``status`` document."""
        raise NotImplementedError

    def orders(self, session_date: dt.date | None = None) -> list[Row]:
        """Return orders, newest session first then by id; of one session, or all."""
        raise NotImplementedError

    def fills(self, session_date: dt.date | None = None) -> list[Row]:
        """Return executions, oldest first."""
        raise NotImplementedError

    def positions(self) -> list[Row]:
        """Return the holdings of the ledger, at the last known marks."""
        raise NotImplementedError

    def forecasts(self, session_date: dt.date | None = None) -> list[Row]:
        """Return forecasts of a session, by default of the last decision."""
        raise NotImplementedError

    def signals(self, session_date: dt.date | None = None) -> list[Row]:
        """Return combined signals of a session, each with its parts; by default of the last."""
        raise NotImplementedError

    def sentiment(self, session_date: dt.date | None = None) -> list[Row]:
        """Return sentiment scores of a session, by default of the last decision."""
        raise NotImplementedError

    def runs(self, limit: int = 50) -> list[Row]:
        """Return the newest runs first."""
        raise NotImplementedError

    def costs(self, start: dt.date | None = None, end: dt.date | None = None) -> list[Row]:
        """Return cost bookings, oldest first, of the UTC dates ``start`` to ``end``, both included."""
        raise NotImplementedError

    def decision(self, symbol: str, session_date: dt.date | None = None) -> Row | None:
        """Return everything ``explain`` retells; None when the symbol was not in the decision."""
        raise NotImplementedError

    def incidents(self, limit: int = 100) -> list[Row]:
        """Return the newest incidents first."""
        raise NotImplementedError

    def denied(self, session_date: dt.date) -> list[Row]:
        """Return the denied orders of a session with the limits that said no."""
        raise NotImplementedError

    def equity_curve(
        self, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> list[Row]:
        """Return ``at``, ``session_date``, ``equity``, ``cash``, oldest first."""
        raise NotImplementedError

    def position_curve(
        self, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> list[Row]:
        """Return ``at``, ``symbol``, ``quantity``, ``price``, ``market_value``, oldest first."""
        raise NotImplementedError

    def reports(self) -> list[Row]:
        """Return the newest issue of each report, newest session first."""
        raise NotImplementedError
