"""The store: one SQLite file, one writer, and the hash-chained log of what happened.

Everything that must never be lost or doubled is an event; the tables beside the log are
made from it.  Nothing is cached in memory, so memory cannot get ahead of the disk.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domain.clock import Clock
from domain.errors import StateError, StorageError
from state.checks import check_database
from state.database import connect, translate, translated
from state.events import Event, Head, Payload, append_event
from state.files import DATABASE, LOCK, MARK, WriterLock, prepare_directory
from state.latch import Latch
from state.latch_record import LatchState
from state.mark import Mark, read_mark
from state.migrations import migrate
from state.opening import prepare_files
from state.projection import apply_event, begin_tables, rebuild_tables
from state.rows import moment, stamp

_HEAD = "SELECT seq, hash, (SELECT epoch FROM writer) FROM events ORDER BY seq DESC LIMIT 1"


class Store:
    """The open database of one account; all writing goes through one of these.

    Use ``Store.open``.  ``epoch`` rises with every opening: a writer that was frozen while
    another took over finds a higher one in the database and may not write any more.
    ``on_commit`` is told how many seconds each transaction took, its fsync included.
    """

    def __init__(
        self, directory: Path, clock: Clock, connection: sqlite3.Connection, lock: WriterLock
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.epoch = 0
        self.on_commit: Callable[[float], None] | None = None
        self._path = directory / DATABASE
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._mark = Mark(directory / MARK)
        self._head = Head(0, "")
        self._depth = 0

    @classmethod
    def open(cls, directory: Path, *, clock: Clock) -> "Store":
        """Take the writer's lock, migrate, check everything, raise the epoch.

        A directory with neither database nor latch is new, and begins armed.

        Raises:
            StateError: another writer, a damaged or rolled back file, a newer schema.
            StorageError: the disk refused.
        """
        prepare_directory(directory)
        lock = WriterLock(directory / LOCK)
        try:
            prepare_files(directory, clock)
            with translated(directory / DATABASE):
                connection = connect(directory / DATABASE)
                try:
                    return cls._opened(directory, clock, connection, lock)
                except BaseException:
                    connection.close()
                    raise
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(
        cls, directory: Path, clock: Clock, connection: sqlite3.Connection, lock: WriterLock
    ) -> "Store":
        path = directory / DATABASE
        migrate(connection, path, at=stamp(clock.now()))
        head = check_database(connection, path, read_mark(directory / MARK))
        store = cls(directory, clock, connection, lock)
        try:
            store._take_over(head)
        except BaseException:
            store._mark.close()
            raise
        return store

    def _take_over(self, head: Head) -> None:
        connection = self._connected()
        with _immediate(connection, self._path):
            if head.sequence == 0:
                begin_tables(connection)
            self.epoch = connection.execute("SELECT epoch FROM writer").fetchone()[0] + 1
            self._head = head
            self._append(connection, "store.opened", {"epoch": self.epoch})
        self._mark.write(self._head.sequence, self._head.digest)
        self._mark.sync()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all or nothing; nested uses are savepoints.

        Raises:
            StorageError: nothing was written.
            StateError: another writer took over.
        """
        with translated(self._path):
            if self._depth:
                with self._savepoint() as connection:
                    yield connection
            else:
                with self._outermost() as connection:
                    yield connection

    @contextmanager
    def _outermost(self) -> Iterator[sqlite3.Connection]:
        connection = self._connected()
        before = None
        began = time.perf_counter()
        self._depth = 1
        try:
            with _immediate(connection, self._path):
                before = self._head = self._current_head(connection)
                yield connection
        except BaseException as exc:
            if isinstance(exc, sqlite3.Error) and _is_connection_suspect(exc, connection):
                self._disconnect()
            raise
        finally:
            self._depth = 0
        if self._head is not before:
            self._mark.write(self._head.sequence, self._head.digest)
        if self.on_commit is not None:
            self.on_commit(time.perf_counter() - began)

    @contextmanager
    def _savepoint(self) -> Iterator[sqlite3.Connection]:
        connection = self._within()
        before = self._head
        name = f"level_{self._depth}"
        connection.execute(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            yield connection
        except BaseException:
            self._head = before
            # A full disk may have ended the whole transaction, savepoints included.
            if connection.in_transaction:
                connection.execute(f"ROLLBACK TO {name}")
                connection.execute(f"RELEASE {name}")
            raise
        else:
            self._within().execute(f"RELEASE {name}")
        finally:
            self._depth -= 1

    def append(self, kind: str, payload: Payload) -> int:
        """Append one event and apply it to the derived tables; return its number."""
        with self.transaction() as connection:
            return self._append(connection, kind, payload)

    def append_within(self, kind: str, payload: Payload) -> int:
        """Append one event inside the transaction that the caller has open."""
        if not self._depth:
            raise StateError(f"event {kind} needs an open transaction: use append")
        return self._append(self._within(), kind, payload)

    def _append(self, connection: sqlite3.Connection, kind: str, payload: Payload) -> int:
        at = stamp(self.clock.now())
        head = append_event(connection, self._head, at=at, kind=kind, payload=payload)
        apply_event(connection, Event(head.sequence, at, kind, payload))
        self._head = head
        return head.sequence

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read rows, inside the transaction when there is one.

        Raises:
            StateError: the database cannot be read.
        """
        try:
            return self._connected().execute(sql, parameters).fetchall()
        except sqlite3.Error as exc:
            raise translate(exc, self._path) from exc

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Read the first row, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def bind_account(self, number: str) -> None:
        """Tie the store to an account, for ever.

        Raises:
            StateError: the store belongs to another account.
        """
        bound = self.account()
        if bound is None:
            self.append("account.bound", {"account": number})
        elif bound != number:
            raise StateError(
                f"{self.directory} belongs to account {bound}, and the broker says {number}:"
                " set state.directory to another folder"
            )

    def is_writer(self) -> bool:
        """Tell whether no other process has taken the store over since it was opened."""
        return bool(self.rows("SELECT epoch FROM writer")[0]["epoch"] == self.epoch)

    def account(self) -> str | None:
        """Return the account that the store is tied to."""
        found: str | None = self.rows("SELECT account FROM writer")[0]["account"]
        return found

    def latch_row(self) -> LatchState:
        """Return the latch as the database remembers it."""
        row = self.rows(
            "SELECT latch_is_engaged, latch_reason, latch_at, latch_sequence FROM risk_state"
        )[0]
        return LatchState(
            is_engaged=bool(row["latch_is_engaged"]),
            reason=row["latch_reason"],
            at=moment(row["latch_at"]),
            sequence=row["latch_sequence"],
        )

    def sync_latch(self, latch: Latch) -> LatchState:
        """Carry the file into the row and return the combined truth: either one engages.

        Only an armed file with a higher sequence than the engaged row, that is, a later
        release by a person, arms the row.
        """
        file, row = latch.read(), self.latch_row()
        is_later = file.sequence > row.sequence
        if not file.is_engaged and row.is_engaged and not is_later:
            return row
        if file.is_engaged != row.is_engaged or is_later:
            self._record_latch(file, sequence=max(file.sequence, row.sequence))
        return file

    def _record_latch(self, state: LatchState, *, sequence: int) -> None:
        self.append(
            "latch.set",
            {
                "is_engaged": state.is_engaged,
                "reason": state.reason,
                "at": stamp(state.at) if state.at is not None else None,
                # A file that could not be read says 0; the row does not fall back with it.
                "sequence": sequence,
            },
        )

    def rebuild(self) -> int:
        """Make the derived tables again from the log; return the number of events.

        Raises:
            StateError: the log is damaged; nothing changed.
        """
        with self.transaction() as connection:
            return rebuild_tables(connection)

    def checkpoint(self) -> None:
        """Move the WAL into the database, at a quiet moment."""
        self.rows("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Write the mark, close the database, give the lock back; may be called twice."""
        try:
            self._disconnect()
            with contextlib.suppress(StorageError):
                self._mark.close()
        finally:
            self._lock.release()

    def _current_head(self, connection: sqlite3.Connection) -> Head:
        sequence, digest, epoch = connection.execute(_HEAD).fetchone()
        if epoch != self.epoch:
            raise StateError(
                f"{self.directory} was taken over by another openbell (epoch {epoch}, ours"
                f" {self.epoch}): this one may not write, stop it"
            )
        return Head(sequence, digest)

    def _within(self) -> sqlite3.Connection:
        connection = self._connected()
        if not connection.in_transaction:
            # An error took the whole transaction with it; what follows must not stand alone.
            raise _given_up(self._path)
        return connection

    def _connected(self) -> sqlite3.Connection:
        if self._lock.is_released:
            raise StateError(f"{self.directory} was closed: open the store again")
        if self._connection is None:
            self._connection = connect(self._path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


@contextmanager
def _immediate(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if not connection.in_transaction:
            raise _given_up(path)
        connection.execute("COMMIT")
    except BaseException:
        # The error itself may have ended the transaction.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _given_up(path: Path) -> StorageError:
    return StorageError(f"{path} gave up a transaction: nothing of it was written")


def _is_connection_suspect(exc: sqlite3.Error, connection: sqlite3.Connection) -> bool:
    name = getattr(exc, "sqlite_errorname", "")
    return name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT")) or connection.in_transaction
