"""Breaker states that outlive a restart, so that a dead provider stays known as dead."""

import datetime as dt
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from state.rows import known_moment, moment, stamp
from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRecord:
    """``state`` is ``closed``, ``open`` or ``half_open``."""

    name: str
    state: str
    failures: int
    opened_at: dt.datetime | None
    updated_at: dt.datetime
    reason: str = ""


class Breakers:
    """Last known state of each breaker."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, record: BreakerRecord) -> None:
        """Remember a breaker."""
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO breakers"
                " (name, state, failures, opened_at, updated_at, reason)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.name,
                    record.state,
                    record.failures,
                    stamp(record.opened_at) if record.opened_at is not None else None,
                    stamp(record.updated_at),
                    record.reason,
                ),
            )

    def get(self, name: str) -> BreakerRecord | None:
        """Return one breaker."""
        row = self._store.row("SELECT * FROM breakers WHERE name = ?", (name,))
        return _record(row) if row is not None else None

    def all(self) -> Mapping[str, BreakerRecord]:
        """Return every breaker by name."""
        rows = self._store.rows("SELECT * FROM breakers ORDER BY name")
        return {row["name"]: _record(row) for row in rows}


def _record(row: sqlite3.Row) -> BreakerRecord:
    return BreakerRecord(
        name=row["name"],
        state=row["state"],
        failures=row["failures"],
        opened_at=moment(row["opened_at"]),
        updated_at=known_moment(row["updated_at"]),
        reason=row["reason"],
    )
