"""The journal: every event of the exchange, durable before anybody hears of it."""

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from brokers.exchange.codec import decode_event, encode_event
from brokers.exchange.events import Event
from domain.errors import DataError, StateError, StorageError

JOURNAL_NAME = "exchange.jsonl"


class Journal:
    """An append-only file of JSON lines with one writer."""

    def __init__(self, directory: Path) -> None:
        # Each folder on the way: with parents=True those above would be everybody's to read.
        for folder in (*reversed(directory.parents), directory):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._path = directory / JOURNAL_NAME
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock()
        self.history: tuple[Event, ...] = self._read()
        self.count = len(self.history)

    def append(self, events: Sequence[Event]) -> None:
        """Write events and wait until the disk has them.

        Raises:
            StorageError: the disk refused; nothing may be answered or published.
        """
        block = "".join(encode_event(event) + "\n" for event in events).encode()
        try:
            written = 0
            while written < len(block):
                written += os.write(self._file, block[written:])
            os.fdatasync(self._file)
        except OSError as exc:
            # Half a block must not stand before the whole one that is tried again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise StorageError(f"{self._path} could not be written ({exc}); free the disk") from exc
        self.count += len(events)
        self._size += len(block)

    def close(self) -> None:
        """Release the file and its lock."""
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._file)
            raise StateError(
                f"{self._path} is in use by another paper server; stop that one first"
            ) from exc

    def _read(self) -> tuple[Event, ...]:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        self._size = len(whole)
        if len(whole) < len(content):
            # The last write was cut off by a crash before anybody heard of it.
            os.ftruncate(self._file, len(whole))
        try:
            return tuple(decode_event(line) for line in whole.decode().splitlines())
        except (DataError, UnicodeDecodeError) as exc:
            os.close(self._file)
            raise StateError(
                f"{self._path} is damaged ({exc}); move it away to start a fresh account"
            ) from exc
