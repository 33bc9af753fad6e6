"""Keeping the database small: old service records go, the event log and the books stay."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from state.rows import known_moment, stamp
from state.store import Store

_SLICE = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days of each kind of record to keep."""

    curve_days: int = 730
    decision_days: int = 730
    headline_days: int = 90
    incident_days: int = 730
    cost_days: int = 730


def prune_records(
    store: Store, retention: Retention, now: dt.datetime
) -> Iterator[tuple[str, int]]:
    """Delete what is older than its days, step by step; yield table and rows of each.

    A step is one day and one transaction: years at once, where somebody lowers the days, would
    hold the event loop for longer than its watchdog waits.

    Raises:
        StorageError: the disk refused; what went before stays deleted.
    """
    for table, column, cutoff in _cutoffs(retention, now):
        while (oldest := _oldest(store, table, column)) is not None and oldest < cutoff:
            end = min(cutoff, stamp(known_moment(oldest) + _SLICE))
            with store.transaction() as connection:
                # Forecasts, signals and sentiment go with their decision, by foreign key.
                query = f"DELETE FROM {table} WHERE {column} < ?"  # noqa: S608 - names from below
                count = connection.execute(query, (end,)).rowcount
            yield table, count


def _oldest(store: Store, table: str, column: str) -> str | None:
    query = f"SELECT min({column}) AS oldest FROM {table}"  # noqa: S608 - names from below
    oldest: str | None = store.rows(query)[0]["oldest"]
    return oldest


def _cutoffs(retention: Retention, now: dt.datetime) -> tuple[tuple[str, str, str], ...]:
    days = (
        ("equity", "at", retention.curve_days),
        ("position_points", "at", retention.curve_days),
        ("decisions", "as_of", retention.decision_days),
        ("headlines", "seen_at", retention.headline_days),
        ("incidents", "at", retention.incident_days),
        ("costs", "at", retention.cost_days),
    )
    return tuple(
        (table, column, stamp(now - dt.timedelta(days=kept))) for table, column, kept in days
    )
