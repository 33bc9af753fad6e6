"""The store: one SQLite file, one writer, and the hash-chained log of what happened."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
import sqlite3

from domain.clock import Clock
from state.latch import Latch, LatchState


class Store:
    """The open database of one account; all writing goes through one of these."""

    clock: Clock
    directory: Path
    epoch: int

    @classmethod
    def open(cls, directory: Path, *, clock: Clock) -> "Store":
        """Take the writer's lock, migrate, check everything, raise the epoch.

        Raises:
            StateError: another writer, a damaged or rolled back file, a newer schema.
            StorageError: the disk refused.
        """
        raise NotImplementedError

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all or nothing; nested uses are savepoints.

        Raises:
            StorageError: nothing was written.
        """
        raise NotImplementedError
        yield

    def append(self, kind: str, payload: Mapping[str, object]) -> int:
        """Append one event and apply it to the derived tables; return its number."""
        raise NotImplementedError

    def bind_account(self, number: str) -> None:
        """Tie the store to an account, for ever.

        Raises:
            StateError: the store belongs to another account.
        """
        raise NotImplementedError

    def latch_row(self) -> LatchState:
        """Return the latch as the database remembers it."""
        raise NotImplementedError

    def sync_latch(self, latch: Latch) -> LatchState:
        """Carry the file into the row and return the combined truth: either one engages.

        Only an armed file with a higher sequence than the engaged row, that is, a later
        release by a person, arms the row.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write the mark, close the database, give the lock back; may be called twice."""
        raise NotImplementedError
