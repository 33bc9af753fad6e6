"""The track record as public JSON shapes: scores, matured forecasts, demotions."""

import datetime as dt
import json
import sqlite3
from collections.abc import Callable

from state.json_rows import Row, picked, whole

Query = Callable[..., list[sqlite3.Row]]

_LINES = (
    "SELECT * FROM forecast_scores WHERE session_date ="
    " (SELECT max(session_date) FROM forecast_scores) ORDER BY grouping, name"
)
_HISTORY = (
    "SELECT * FROM forecast_scores WHERE grouping IN ('source', 'model')"
    " ORDER BY grouping, name, session_date"
)
_STANDINGS = (
    "SELECT * FROM forecast_standings s WHERE session_date = (SELECT max(session_date)"
    " FROM forecast_standings WHERE source = s.source) ORDER BY source"
)
# What an earlier model of the source did is not held against the one that answers now.
DEMOTIONS = (
    "SELECT source, is_demoted AND model = coalesce((SELECT model FROM locked_forecasts"
    " WHERE source = s.source ORDER BY number DESC LIMIT 1), model) AS is_demoted, reason"
    " FROM forecast_standings s WHERE session_date ="
    " (SELECT max(session_date) FROM forecast_standings WHERE source = s.source) ORDER BY source"
)
_MATURED = (
    "SELECT l.*, o.session_date, o.matured_on, o.outcome, o.is_right, o.is_inside_80"
    " FROM forecast_outcomes o JOIN locked_forecasts l USING (number)"
    " WHERE o.session_date = coalesce(?, (SELECT max(session_date) FROM forecast_outcomes))"
    " ORDER BY l.symbol, l.source, l.number"
)
_COUNTS = (
    "SELECT (SELECT count(*) FROM locked_forecasts) AS locked,"
    " (SELECT count(*) FROM forecast_outcomes) AS matured"
)
_ORDER = ("source", "model", "confidence", "symbol")


def scores(rows: Query) -> Row:
    """Return the newest scores with their baselines, and where each source stands."""
    lines = [_line(row) for row in rows(_LINES)]
    return {
        "session_date": lines[0]["session_date"] if lines else None,
        **dict(rows(_COUNTS)[0]),
        "groups": {
            grouping: [line for line in lines if line["grouping"] == grouping]
            for grouping in _ORDER
        },
        "standings": [_standing(row) for row in rows(_STANDINGS)],
    }


def score_history(rows: Query) -> list[Row]:
    """Return the scores of sources and models of every session, oldest first."""
    return [_line(row) for row in rows(_HISTORY)]


def matured(rows: Query, session_date: dt.date | None) -> list[Row]:
    """Return the forecasts whose outcome became known at the end of a session."""
    date = session_date.isoformat() if session_date is not None else None
    return [_matured(row) for row in rows(_MATURED, (date,))]


def demotions(rows: Query) -> dict[str, str]:
    """Return why each demoted source is not used, by source."""
    return {row["source"]: row["reason"] for row in rows(DEMOTIONS) if row["is_demoted"]}


def _line(row: sqlite3.Row) -> Row:
    base = row["baseline_brier"]
    return {**whole(row), "brier_skill": 1 - row["brier"] / base if base > 0 else None}


def _standing(row: sqlite3.Row) -> Row:
    return {**whole(row), "is_demoted": bool(row["is_demoted"])}


def _matured(row: sqlite3.Row) -> Row:
    columns = (
        "symbol",
        "source",
        "model",
        "model_hash",
        "horizon",
        "locked_at",
        "data_cutoff",
        "session_date",
        "matured_on",
        "probability_up",
        "base_rate",
        "outcome",
    )
    return {
        **picked(row, columns),
        "confidence": max(row["probability_up"], 1 - row["probability_up"]),
        "levels": json.loads(row["levels"]),
        "quantiles": json.loads(row["quantiles"]),
        "was_right": bool(row["is_right"]),
        "is_inside_80": bool(row["is_inside_80"]),
    }
