"""Incidents: what a person should know happened."""

import datetime as dt

from domain.ids import Symbol
from state.rows import stamp
from state.store import Store


class Incidents:
    """Append-only notes of breaks, faults and repairs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, kind: str, text: str, at: dt.datetime, symbol: Symbol | None = None) -> int:
        """Store one incident; return its number."""
        with self._store.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO incidents (at, kind, symbol, text) VALUES (?, ?, ?, ?)",
                (stamp(at), kind, symbol, text),
            )
        return int(cursor.lastrowid or 0)
