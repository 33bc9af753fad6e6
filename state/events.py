"""The event log: append-only, gapless, each row bound to the one before it by its hash."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from domain.errors import StateError

Payload = Mapping[str, Any]
"""Text, whole numbers, truth values, None, and lists of them: money is text already."""

GENESIS = "0" * 64

_INSERT = "INSERT INTO events (seq, at, kind, payload, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?)"
_ALL = "SELECT seq, at, kind, payload, prev_hash, hash FROM events ORDER BY seq"
# Payloads are built here and hold no loops; looking for some costs a fifth of the encoding.
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


@dataclass(frozen=True, slots=True)
class Head:
    """The last event: its number and its hash."""

    sequence: int
    digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    sequence: int
    at: str
    kind: str
    payload: Payload


def append_event(
    connection: sqlite3.Connection, head: Head, *, at: str, kind: str, payload: Payload
) -> Head:
    """Write one event after ``head``; return the new head."""
    sequence = head.sequence + 1
    written = _encode(payload)
    digest = _digest(head.digest, sequence, at, kind, written)
    connection.execute(_INSERT, (sequence, at, kind, written, head.digest, digest))
    return Head(sequence, digest)


def verified_events(connection: sqlite3.Connection) -> Iterator[Event]:
    """Yield the log from its beginning, each event checked against the chain.

    Raises:
        StateError: an event is missing, was changed, or does not follow its predecessor.
    """
    for sequence, at, kind, payload, _ in _checked_rows(connection):
        yield Event(sequence, at, kind, json.loads(payload))


def verify_chain(connection: sqlite3.Connection) -> Head:
    """Check the whole log; return its head.

    Raises:
        StateError: as for ``verified_events``.
    """
    head = Head(0, GENESIS)
    for sequence, *_, digest in _checked_rows(connection):
        head = Head(sequence, digest)
    return head


def _checked_rows(connection: sqlite3.Connection) -> Iterator[tuple[int, str, str, str, str]]:
    last, chained = 0, GENESIS
    for sequence, at, kind, payload, previous, digest in connection.execute(_ALL):
        if sequence != last + 1 or previous != chained:
            raise StateError(_broken(f"event {last + 1} is missing"))
        if digest != _digest(previous, sequence, at, kind, payload):
            raise StateError(_broken(f"event {sequence} was changed"))
        last, chained = sequence, digest
        yield sequence, at, kind, payload, digest


def _digest(previous: str, sequence: int, at: str, kind: str, payload: str) -> str:
    # JSON escapes line breaks, so the fields cannot run into each other.
    return sha256(f"{previous}\n{sequence}\n{at}\n{kind}\n{payload}".encode()).hexdigest()


def _broken(what: str) -> str:
    return f"the event log is damaged, {what}: restore the newest backup, then reconcile"
