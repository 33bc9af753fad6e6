"""The chain of events in the database, followed from outside."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from state.mark import Mark
from tests.simulation.checkers.evidence import Violations


class EventLog:
    """I17: what was committed stays, in order, under its hash."""

    def __init__(self) -> None:
        self._sequence = 0
        self._hash = ""
        self._promised: dict[int, str] = {}

    def promise(self, sequence: int, digest: str) -> None:
        """Remember what the store believed to be durable when it returned from a commit."""
        self._promised[sequence] = digest

    @contextmanager
    def listening(self, directory: Path) -> Iterator[None]:
        """Hear every move of the mark beside the database of ``directory``."""
        plain = Mark.write

        def heard(mark: Mark, sequence: int, digest: str) -> None:
            # A backup is opened to try it, and has a mark and a log of its own.
            if mark._path.parent == directory:
                self.promise(sequence, digest)
            plain(mark, sequence, digest)

        with mock.patch.object(Mark, "write", heard):
            yield

    def check(self, db: sqlite3.Connection) -> Violations:
        """Compare with what was seen before, and walk what is new."""
        found: Violations = []
        self._promised.pop(0, None)
        since = (min(self._promised, default=0),)
        there = db.execute("SELECT seq, hash FROM events WHERE seq >= ?", since) if since[0] else ()
        kept = {row["seq"]: row["hash"] for row in there}
        for sequence, digest in self._promised.items():
            if kept.get(sequence) != digest:
                found.append(("I17", f"event {sequence} was acknowledged and is not there"))
        self._promised.clear()
        if self._sequence:
            row = db.execute("SELECT hash FROM events WHERE seq = ?", (self._sequence,)).fetchone()
            if row is None or row["hash"] != self._hash:
                found.append(("I17", f"event {self._sequence} is not what it was"))
        rows = db.execute(
            "SELECT seq, prev_hash, hash FROM events WHERE seq > ? ORDER BY seq", (self._sequence,)
        )
        for row in rows:
            is_next = row["seq"] == self._sequence + 1
            if not is_next or (self._hash and row["prev_hash"] != self._hash):
                found.append(("I17", f"event {row['seq']} does not follow {self._sequence}"))
            self._sequence, self._hash = row["seq"], row["hash"]
        return found

    @property
    def digest(self) -> str:
        """Return the hash of the last event seen."""
        return self._hash
