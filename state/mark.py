"""The high-water mark: how far the event log had come, kept outside the database.

A database that is behind its mark lost committed rows: a deleted WAL, a restored copy.
The mark is written after the commit, so a crash between the two leaves it behind, which
is harmless.  It reaches the page cache with every commit and the disk with every
``SYNC_EVERY``th: only a lost WAL *and* a power cut together could hide that many.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from domain.errors import StateError, StorageError

SYNC_EVERY = 32
_SLOT_BYTES = 128


class MarkPoint(NamedTuple):
    """Number and hash of the last event known to be durable."""

    sequence: int
    digest: str


class Mark:
    """The open mark file: two slots, written in turn, so that one is always whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated():
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._slot = 0
        self._unsynced = 0

    def write(self, sequence: int, digest: str) -> None:
        """Move the mark.

        Raises:
            StorageError: the disk refused; the events themselves are durable.
        """
        line = _encode(sequence, digest)
        with self._translated():
            os.pwrite(self._descriptor, line, self._slot * _SLOT_BYTES)
        self._slot ^= 1
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Bring the mark to the disk.

        Raises:
            StorageError: the disk refused.
        """
        with self._translated():
            os.fsync(self._descriptor)
        self._unsynced = 0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageError(
                f"{self._path} cannot be written ({exc.strerror}): check the disk"
            ) from exc

    def close(self) -> None:
        """Sync and close; may be called twice.

        Raises:
            StorageError: the disk refused; it is closed all the same.
        """
        if self._descriptor >= 0:
            try:
                self.sync()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1


def read_mark(path: Path) -> MarkPoint | None:
    """Return the highest whole record; None when there is no file.

    Raises:
        StateError: the file is there, and no record in it is whole.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"{path} cannot be read: {exc.strerror}") from exc
    slots = (content[:_SLOT_BYTES], content[_SLOT_BYTES:])
    points = [point for slot in slots if (point := _decode(slot)) is not None]
    if not points:
        raise StateError(
            f"{path} is damaged, so a rollback of the database would go unseen: restore the"
            " state directory from a backup"
        )
    return max(points)


def _encode(sequence: int, digest: str) -> bytes:
    body = f"{sequence:020d} {digest}"
    return f"{body} {crc32(body.encode()):08x}".ljust(_SLOT_BYTES - 1).encode() + b"\n"


def _decode(slot: bytes) -> MarkPoint | None:
    fields = slot.decode("ascii", errors="replace").split()
    if len(fields) != 3 or not fields[0].isdigit():  # noqa: PLR2004 - the three of _encode
        return None
    sequence = int(fields[0])
    if _encode(sequence, fields[1]) != slot:
        return None
    return MarkPoint(sequence, fields[1])
