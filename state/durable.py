"""Small files that must survive a crash, and several programs that write them."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_TRIES = 100
_SECONDS_BETWEEN = 0.01


@contextlib.contextmanager
def taking_turns(directory: Path) -> Iterator[None]:
    """Keep others who take turns in this directory out, from reading a file to replacing it.

    Nobody waits longer than a second: a program that was frozen in its turn, or a directory
    that cannot be opened, must not hold a kill up.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            _wait_for(descriptor)
        yield


def write_durably(path: Path, content: bytes) -> None:
    """Write a private file anew, and return when it is on the disk."""
    _write(path, content, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def overwrite_durably(path: Path, content: bytes) -> None:
    """Write into the beginning of a file that is there; its space is allocated already."""
    _write(path, content, os.O_WRONLY)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_file(path: Path) -> None:
    """Return when the content of a file, whoever wrote it, is on the disk."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_SECONDS_BETWEEN)  # noqa: TID251 - another program's turn, milliseconds
        else:
            return


def _write(path: Path, content: bytes, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
