"""Put the books of a finished replay away, so that the next one begins with a fresh account."""

import shutil
from pathlib import Path

from domain.errors import StorageError, remedy
from state.backup_folder import DIRECTORY as BACKUPS
from state.files import DATABASE, MARK

DIRECTORY = "archive"
# The books of a replay can be made again at any time.
_KEPT = 10
_BOOKS = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", MARK, "paper", "reports", BACKUPS)


def archive_books(state: Path) -> Path:
    """Move everything that belongs to one account into ``archive/N``; return that folder.

    Latch, pause and models stay: they are not the account's.

    Raises:
        StorageError: the disk refused.
    """
    archive = state / DIRECTORY
    try:
        archive.mkdir(mode=0o700, exist_ok=True)
        numbers = sorted(_numbers(archive))
        target = archive / str((numbers[-1] if numbers else 0) + 1)
        target.mkdir(mode=0o700)
        for name in _BOOKS:
            if (state / name).exists():
                (state / name).rename(target / name)
        for number in numbers[: max(0, len(numbers) + 1 - _KEPT)]:
            shutil.rmtree(archive / str(number))
    except OSError as exc:
        raise StorageError(f"{archive} cannot be written ({exc}); {remedy(exc)}") from exc
    return target


def _numbers(archive: Path) -> list[int]:
    return [int(path.name) for path in archive.iterdir() if path.name.isdecimal()]
