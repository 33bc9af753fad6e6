"""Events about risk, the latch and the runs, carried into their tables."""

import sqlite3

from state.events import Event


def high_water_mark_moved(connection: sqlite3.Connection, event: Event) -> None:
    """Equity passed its mark."""
    connection.execute(
        "UPDATE risk_state SET high_water_mark = ?, high_water_mark_at = ?",
        (event.payload["high_water_mark"], event.payload["at"]),
    )


def cash_flowed(connection: sqlite3.Connection, event: Event) -> None:
    """Money came or went."""
    # Older logs have the event's own time alone.
    booked_at = event.payload.get("at", event.at)
    connection.execute(
        "INSERT INTO cash_flows (activity_id, amount, booked_at) VALUES (?, ?, ?)",
        (event.payload["activity_id"], event.payload["amount"], booked_at),
    )
    if event.payload["high_water_mark"] is not None:
        connection.execute(
            "UPDATE risk_state SET high_water_mark = ?, high_water_mark_at = ?",
            (event.payload["high_water_mark"], event.at),
        )


def session_started(connection: sqlite3.Connection, event: Event) -> None:
    """The first equity of a session was seen."""
    connection.execute(
        "INSERT INTO sessions (session_date, start_equity, started_at) VALUES (?, ?, ?)",
        (event.payload["session_date"], event.payload["equity"], event.payload["at"]),
    )


def trading_state_set(connection: sqlite3.Connection, event: Event) -> None:
    """The trading state changed."""
    connection.execute(
        "UPDATE risk_state SET trading_state = ?, trading_state_reason = ?, trading_state_at = ?",
        (event.payload["state"], event.payload["reason"], event.at),
    )


def latch_set(connection: sqlite3.Connection, event: Event) -> None:
    """The latch changed."""
    connection.execute(
        "UPDATE risk_state SET latch_is_engaged = :is_engaged, latch_reason = :reason,"
        " latch_at = :at, latch_sequence = :sequence",
        dict(event.payload),
    )


def run_begun(connection: sqlite3.Connection, event: Event) -> None:
    """A run was claimed."""
    connection.execute(
        "INSERT INTO runs (run_id, session_date, kind, state, reason, started_at)"
        " VALUES (:run_id, :session_date, :kind, 'RUNNING', '', :at)",
        dict(event.payload),
    )


def run_finished(connection: sqlite3.Connection, event: Event) -> None:
    """A run ended."""
    connection.execute(
        "UPDATE runs SET state = :state, reason = :reason, finished_at = :at"
        " WHERE run_id = :run_id",
        dict(event.payload),
    )
