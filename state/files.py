"""The state directory's files: privacy, and the lock of the single writer."""

import fcntl
import os
import stat
from pathlib import Path

from domain.errors import InUse, StateError, StorageError

DATABASE = "openbell.db"
LOCK = "openbell.lock"
MARK = "openbell.hwm"

_PRIVATE_DIRECTORY = 0o700
_PRIVATE_FILE = 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def create_directory(directory: Path) -> None:
    """Create the state directory, private, where there is none.

    Whoever writes below it before the daemon's first start does this first: left to a
    ``mkdir`` of a folder in it, the umask decides, and what a group may write refuses to start.

    Raises:
        StateError: it is not a directory.
        StorageError: it cannot be created.
    """
    try:
        directory.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise StateError(f"{directory} is not a directory: name another state.directory") from exc
    except OSError as exc:
        raise StorageError(f"{directory} cannot be created: {exc.strerror}") from exc


def prepare_directory(directory: Path) -> None:
    """Create the state directory, or check that the one there is ours alone to write.

    Raises:
        StateError: it is not a directory, or others may write into it.
        StorageError: it cannot be created.
    """
    create_directory(directory)
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise StateError(f"{directory} is not writable: run as its owner or change its mode")
    _refuse_open_to_others(directory)


def prepare_file(path: Path) -> None:
    """Create a private file, or check the one there.

    Raises:
        StateError: it is a link, not a file, or others own it or may write to it.
        StorageError: it cannot be created.
    """
    if is_ours(path):
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE_FILE))
    except OSError as exc:
        raise StorageError(f"{path} cannot be created: {exc.strerror}") from exc


def is_ours(path: Path) -> bool:
    """Tell whether there is a file, and that it is ours alone to write.

    Raises:
        StateError: it is a link, not a file, or others own it or may write to it.
    """
    if path.is_symlink():
        raise StateError(f"{path} is a symbolic link: put the file itself there")
    if not path.exists():
        return False
    if not path.is_file():
        raise StateError(f"{path} is not a file: move it away")
    _refuse_open_to_others(path)
    return True


def _refuse_open_to_others(path: Path) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise StateError(f"{path} belongs to another user: run as its owner or chown it")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise StateError(f"{path} may be written by others: run chmod go-w {path}")


class WriterLock:
    """An flock: held by one process, given back by the kernel however that process ends."""

    def __init__(self, path: Path) -> None:
        prepare_file(path)
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as exc:
            raise StorageError(f"{path} cannot be opened ({exc.strerror}): check the disk") from exc
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._descriptor)
            raise InUse(
                f"{path.parent} is in use by another openbell: stop that one first"
            ) from exc

    @property
    def is_released(self) -> bool:
        """True after ``release``."""
        return self._descriptor < 0

    def release(self) -> None:
        """Give the lock back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
