"""Scores as they were at the end of each session, and where each source stood then."""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple

from domain.forecasts import ForecastSource
from domain.track_record import ScoreLine, Standing
from state.store import Store

_NEWEST = (
    "SELECT * FROM forecast_standings s WHERE session_date = (SELECT max(session_date)"
    " FROM forecast_standings WHERE source = s.source AND session_date < ?) ORDER BY source"
)
_AFTER_ALL = "~"


class Standings:
    """One set of scores and standings per session; doing a session again replaces its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(
        self, session_date: dt.date, lines: Iterable[ScoreLine], standings: Iterable[Standing]
    ) -> None:
        """Keep what the end of a session found."""
        date = session_date.isoformat()
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM forecast_scores WHERE session_date = ?", (date,))
            connection.executemany(
                "INSERT INTO forecast_scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(date, *astuple(line)) for line in lines],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO forecast_standings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(date, *_columns(standing)) for standing in standings],
            )

    def newest(self, *, before: dt.date | None = None) -> Mapping[ForecastSource, Standing]:
        """Return the newest standing of each source, of a session before a date if one is given."""
        bound = before.isoformat() if before is not None else _AFTER_ALL
        found = [_standing(row) for row in self._store.rows(_NEWEST, (bound,))]
        return {standing.source: standing for standing in found}


def _columns(standing: Standing) -> tuple[str | int, ...]:
    return (
        standing.source.value,
        standing.model,
        standing.is_demoted,
        standing.bad,
        standing.good,
        standing.cool_down,
        standing.reason,
        standing.complaint,
    )


def _standing(row: sqlite3.Row) -> Standing:
    return Standing(
        source=ForecastSource(row["source"]),
        model=row["model"],
        is_demoted=bool(row["is_demoted"]),
        bad=row["bad"],
        good=row["good"],
        cool_down=row["cool_down"],
        reason=row["reason"],
        complaint=row["complaint"],
    )
