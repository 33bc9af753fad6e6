"""The latch: one small file, ``KILL``, that says whether this account may trade.

No SQLite here: the latch must work with the database locked, corrupt or gone.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchState:
    """What the latch says; ``sequence`` rises with every change, 0 when nothing was readable."""

    is_engaged: bool
    reason: str
    at: dt.datetime | None
    sequence: int


class Latch:
    """The latch file of one state directory; missing, unreadable or invalid means engaged."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "KILL"

    def read(self) -> LatchState:
        """Read the file; never raises."""
        raise NotImplementedError

    def engage(self, reason: str, at: dt.datetime) -> LatchState:
        """Engage, durably; wins every race with a release.

        Raises:
            StorageError: the disk took neither the record nor the removal of an armed one.
        """
        raise NotImplementedError

    def release(
        self, reason: str, at: dt.datetime, *, expected_sequence: int | None = None
    ) -> LatchState:
        """Arm again, unless the latch changed since ``expected_sequence`` was read.

        Raises:
            StateError: it was engaged anew meanwhile; it stays engaged.
            StorageError: the disk refused; it stays engaged.
        """
        raise NotImplementedError
