"""Forecasts as they were locked, and what came of them: neither ever changes.

Each answer of a source is one event of the log, which holds the digest of its last forecast;
every forecast holds the digest of the one before it.
"""

import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.errors import StateError
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.track_record import LockedForecast, ScoredForecast
from state.database import connect_read_only, translated
from state.files import DATABASE
from state.rows import known_moment, stamp
from state.store import Store

_LOCKED = "INSERT INTO locked_forecasts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Of two answers about the same only the first counts, also after it was scored.
_PENDING = (
    "SELECT * FROM locked_forecasts l WHERE data_cutoff >= ?"
    " AND NOT EXISTS (SELECT 1 FROM forecast_outcomes o WHERE o.number = l.number)"
    " AND NOT EXISTS (SELECT 1 FROM locked_forecasts e WHERE e.symbol = l.symbol"
    " AND e.data_cutoff = l.data_cutoff AND e.source = l.source"
    " AND e.model_hash = l.model_hash AND e.number < l.number) ORDER BY number"
)
_SETTLED = (
    "SELECT l.number, l.symbol, l.source, l.model, l.horizon, l.probability_up, l.base_rate,"
    " o.matured_on, o.outcome, o.is_inside_80"
    " FROM forecast_outcomes o JOIN locked_forecasts l USING (number) WHERE o.matured_on >="
    " (SELECT min(matured_on) FROM (SELECT DISTINCT matured_on FROM forecast_outcomes"
    " ORDER BY matured_on DESC LIMIT ?)) ORDER BY l.number"
)
_NEWEST_MODELS = (
    "SELECT source, model FROM locked_forecasts WHERE number IN"
    " (SELECT max(number) FROM locked_forecasts GROUP BY source) ORDER BY source"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedAnswer:
    """The forecasts of one answer, and by the log the first number and the last digest."""

    records: tuple[LockedForecast, ...]
    first: int
    digest: str


class TrackRecord:
    """Every forecast that was received, and its outcome once it matured."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last(self) -> LockedForecast | None:
        """Return the newest locked forecast."""
        row = self._store.row("SELECT * FROM locked_forecasts ORDER BY number DESC LIMIT 1")
        return _locked(row) if row is not None else None

    def lock(self, records: Sequence[LockedForecast]) -> None:
        """Keep one answer; durable on return.

        Raises:
            StateError: another record has such a number already.
            StorageError: the disk refused; nothing was written.
        """
        if not records:
            return
        with self._store.transaction() as connection:
            sequence = self._store.append_within(
                "forecasts.locked",
                {
                    "first": records[0].number,
                    "last": records[-1].number,
                    "source": records[0].source.value,
                    "model": records[0].model,
                    "digest": records[-1].digest,
                },
            )
            connection.executemany(_LOCKED, [_columns(record, sequence) for record in records])

    def pending(
        self, *, since: dt.date, is_due: Callable[[dt.date, int], bool]
    ) -> Mapping[int, tuple[LockedForecast, ...]]:
        """Return what is due and has no outcome yet, by the event that locked it.

        Args:
            since: the oldest data cut-off to look at.
            is_due: tells of a data cut-off and a horizon whether the outcome can be known.
        """
        found: dict[int, list[LockedForecast]] = {}
        for row in self._store.rows(_PENDING, (since.isoformat(),)):
            if is_due(dt.date.fromisoformat(row["data_cutoff"]), row["horizon"]):
                found.setdefault(row["seq"], []).append(_locked(row))
        return {sequence: tuple(records) for sequence, records in found.items()}

    def answer(self, sequence: int) -> LockedAnswer:
        """Return the forecasts of one event, and what it holds of them.

        Raises:
            StateError: there is no such event.
        """
        event = self._store.row(
            "SELECT payload FROM events WHERE seq = ? AND kind = 'forecasts.locked'", (sequence,)
        )
        if event is None:
            raise StateError(f"event {sequence} locked no forecasts")
        rows = self._store.rows(
            "SELECT * FROM locked_forecasts WHERE seq = ? ORDER BY number", (sequence,)
        )
        pinned = json.loads(event["payload"])
        return LockedAnswer(
            records=tuple(_locked(row) for row in rows),
            first=pinned["first"],
            digest=pinned["digest"],
        )

    def settle(self, scored: Iterable[ScoredForecast], *, session_date: dt.date) -> None:
        """Keep outcomes that became known at the end of a session."""
        at = stamp(self._store.clock.now())
        rows = [
            (
                one.number,
                session_date.isoformat(),
                one.matured_on.isoformat(),
                one.outcome,
                one.was_right,
                one.is_inside_80,
                at,
            )
            for one in scored
        ]
        if rows:
            with self._store.transaction() as connection:
                connection.executemany(
                    "INSERT INTO forecast_outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", rows
                )

    def newest_models(self) -> Mapping[ForecastSource, str]:
        """Return the model that each source answered with last."""
        rows = self._store.rows(_NEWEST_MODELS)
        return {ForecastSource(row["source"]): row["model"] for row in rows}


def settled(directory: Path, sessions: int) -> tuple[ScoredForecast, ...]:
    """Return what matured in the newest ``sessions`` days on which anything did.

    Through a connection of its own, so that a thread can read a long record.

    Raises:
        StateError: the database cannot be read.
    """
    path = directory / DATABASE
    with translated(path):
        connection = connect_read_only(path)
        try:
            return tuple(_scored(row) for row in connection.execute(_SETTLED, (sessions,)))
        finally:
            connection.close()


def _columns(record: LockedForecast, sequence: int) -> tuple[int | float | str, ...]:
    return (
        record.number,
        sequence,
        stamp(record.locked_at),
        record.symbol,
        record.data_cutoff.isoformat(),
        record.last_close,
        record.horizon,
        json.dumps(record.levels),
        json.dumps(record.quantiles),
        record.probability_up,
        record.base_rate,
        record.source.value,
        record.model,
        record.model_hash,
        record.previous,
        record.digest,
    )


def _locked(row: sqlite3.Row) -> LockedForecast:
    return LockedForecast(
        number=row["number"],
        locked_at=known_moment(row["locked_at"]),
        symbol=Symbol(row["symbol"]),
        data_cutoff=dt.date.fromisoformat(row["data_cutoff"]),
        last_close=row["last_close"],
        horizon=row["horizon"],
        levels=tuple(json.loads(row["levels"])),
        quantiles=tuple(json.loads(row["quantiles"])),
        probability_up=row["probability_up"],
        base_rate=row["base_rate"],
        source=ForecastSource(row["source"]),
        model=row["model"],
        model_hash=row["model_hash"],
        previous=row["previous"],
        digest=row["digest"],
    )


def _scored(row: sqlite3.Row) -> ScoredForecast:
    return ScoredForecast(
        number=row["number"],
        symbol=Symbol(row["symbol"]),
        source=ForecastSource(row["source"]),
        model=row["model"],
        horizon=row["horizon"],
        probability_up=row["probability_up"],
        base_rate=row["base_rate"],
        matured_on=dt.date.fromisoformat(row["matured_on"]),
        outcome=row["outcome"],
        is_inside_80=bool(row["is_inside_80"]),
    )
