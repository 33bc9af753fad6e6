"""The pause: a marker file that stops entries and lets exits work.

A file, so that the command line can set it beside a running daemon, which owns the database.
"""

import contextlib
import os
from pathlib import Path

from domain.errors import StorageError
from domain.reasons import NO_REASON, one_line
from state.durable import sync_directory, write_durably


class Pause:
    """The marker of one state directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "PAUSE"

    @property
    def reason(self) -> str | None:
        """Why entries are paused; None when they are not.  An unreadable marker pauses."""
        try:
            return one_line(self.path.read_text(encoding="utf-8")) or NO_REASON
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            return one_line(f"{self.path} cannot be read: {exc}")

    def set(self, reason: str) -> None:
        """Pause entries, also after a power loss.

        Raises:
            StorageError: the marker could not be written; one that was there stays.
        """
        fresh = self.path.with_name(f"PAUSE.{os.getpid()}")
        try:
            write_durably(fresh, f"{one_line(reason)}\n".encode())
            fresh.replace(self.path)
            sync_directory(self.path.parent)
        except OSError as exc:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise StorageError(
                f"{self.path} could not be written ({exc}); use `openbell kill`"
            ) from exc

    def clear(self) -> bool:
        """Allow entries again; False when they were not paused.

        Raises:
            StorageError: the marker could not be removed.
        """
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise StorageError(f"{self.path} could not be removed: {exc}") from exc
        return True
