"""How a disk refuses."""

import errno
import sqlite3
from enum import Enum, unique


@unique
class Trouble(Enum):
    """Number and text of the system, name of SQLite."""

    FULL = (errno.ENOSPC, "No space left on device", "SQLITE_FULL")
    IO = (errno.EIO, "Input/output error", "SQLITE_IOERR_WRITE")
    READ_ONLY = (errno.EROFS, "Read-only file system", "SQLITE_READONLY")
    BUSY = (errno.EBUSY, "Device or resource busy", "SQLITE_BUSY")
    # A COMMIT that reports an error and has kept everything.
    KEPT = (errno.EIO, "Input/output error", "SQLITE_IOERR_FSYNC")

    def of_system(self) -> OSError:
        """Return the error of a file operation."""
        return OSError(self.value[0], self.value[1])

    def of_sqlite(self) -> sqlite3.OperationalError:
        """Return the error of a statement."""
        error = sqlite3.OperationalError(self.value[1])
        error.sqlite_errorname = self.value[2]
        return error


ANY = (Trouble.FULL, Trouble.IO, Trouble.READ_ONLY, Trouble.BUSY)
# What needs no new space: names that move or go, bytes over bytes.
IN_PLACE = (Trouble.IO, Trouble.READ_ONLY, Trouble.BUSY)
# What a write inside a transaction can still meet: SQLite asks for the rest at BEGIN.
INSIDE = (Trouble.FULL, Trouble.IO)
