"""The log of locked forecasts: one file, one line a record, appended and synced.

A line that a crash cut short was never acknowledged; it is dropped when the log is opened.
Anything else that is wrong with the file is tampering or a bad disk, and is said.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from domain.errors import StateError, StorageError
from forecasts.tracking import LockedForecast, read_line, verify_chain


class ForecastLog:
    """Every locked forecast of one state directory, verified when opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = list(_read(path))

    @property
    def records(self) -> Sequence[LockedForecast]:
        """All records, oldest first."""
        return self._records

    @property
    def last(self) -> LockedForecast | None:
        """The newest record."""
        return self._records[-1] if self._records else None

    def append(self, records: Sequence[LockedForecast]) -> None:
        """Add records that were locked after the last one; durable on return.

        Raises:
            StateError: they do not follow the last record.
            StorageError: the disk refused them.
        """
        if not records:
            return
        verify_chain(records, self.last)
        text = "".join(f"{record.to_line()}\n" for record in records)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise StorageError(f"{self._path} cannot be written ({exc}); free the disk") from exc
        self._records.extend(records)


def _read(path: Path) -> tuple[LockedForecast, ...]:
    try:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        records = tuple(read_line(line) for line in whole.decode("utf-8").splitlines())
        verify_chain(records)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError, StateError) as exc:
        raise StateError(
            f"the log of locked forecasts {path} cannot be trusted: {exc}; move it away to start "
            "a new one"
        ) from exc
    return records
