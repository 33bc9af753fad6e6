"""Facts: small named values that ``status`` shows, such as ``mode`` or ``reconciled_at``."""

from state.store import Store


class Facts:
    """A table of names and texts.

    The reader knows ``mode``, ``session_date``, ``session_phase``, ``reconciled_at`` and
    ``forecast_source``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, **values: str) -> None:
        """Remember values by name."""
        with self._store.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", sorted(values.items())
            )

    def forget(self, name: str) -> None:
        """Remove one value, if it is there."""
        if self.get(name) is not None:
            with self._store.transaction() as connection:
                connection.execute("DELETE FROM facts WHERE name = ?", (name,))

    def get(self, name: str) -> str | None:
        """Return one value."""
        row = self._store.row("SELECT value FROM facts WHERE name = ?", (name,))
        return str(row["value"]) if row is not None else None
