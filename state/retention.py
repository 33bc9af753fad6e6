"""Keeping the database small: old service records go, the event log and the books stay."""

import datetime as dt
from dataclasses import dataclass

from state.rows import stamp
from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days of each kind of record to keep."""

    curve_days: int = 730
    decision_days: int = 730
    headline_days: int = 90
    incident_days: int = 730
    cost_days: int = 730


def prune_records(store: Store, retention: Retention, now: dt.datetime) -> dict[str, int]:
    """Delete what is older than its days; return how many rows of each table went.

    Raises:
        StorageError: the disk refused; nothing was deleted.
    """
    # Imported here: it brings pandas, which nothing else in this room needs.
    from sqlite_utils import Database  # noqa: PLC0415

    cutoffs = (
        ("equity", "at", retention.curve_days),
        ("position_points", "at", retention.curve_days),
        ("decisions", "as_of", retention.decision_days),
        ("headlines", "seen_at", retention.headline_days),
        ("incidents", "at", retention.incident_days),
        ("costs", "at", retention.cost_days),
    )
    deleted: dict[str, int] = {}
    with store.transaction() as connection:
        db = Database(connection, recursive_triggers=False)
        for table, column, days in cutoffs:
            cutoff = stamp(now - dt.timedelta(days=days))
            before = db.table(table).count
            # Forecasts, signals and sentiment go with their decision, by foreign key.
            db.table(table).delete_where(f"{column} < ?", [cutoff])
            deleted[table] = before - db.table(table).count
    return deleted
