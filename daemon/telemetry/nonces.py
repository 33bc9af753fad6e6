"""Nonces of obeyed commands: a small file, durable before the command is obeyed.

Only a kill does not wait for a disk that takes nothing.
"""

import datetime as dt
import json
import os
from pathlib import Path

from domain.errors import StorageError

# Twice as long as a command is fresh, on either side of our clock, and then some.
_REMEMBERED = dt.timedelta(minutes=10)
_MOST = 1000


class Nonces:
    """Remembers what was used; survives a restart."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            StorageError: it is there and cannot be read; nothing may be obeyed then.
        """
        self._path = path
        self._used = _read(path)

    def use(self, nonce: str, now: dt.datetime, *, must_last: bool = True) -> bool:
        """Use a nonce up, durably; False when it was used before.

        Args:
            nonce: of the command.
            now: our time.
            must_last: whether a command may not be obeyed unless its nonce outlives a restart.

        Raises:
            StorageError: it could not be made durable and must be, or too many are remembered.
        """
        # A clock that was set back must not make an old command new again: what is
        # remembered is dropped by age only, never because it lies in the future.
        self._used = {one: at for one, at in self._used.items() if now - at < _REMEMBERED}
        if nonce in self._used:
            return False
        if len(self._used) >= _MOST:
            raise StorageError(f"more than {_MOST} commands in ten minutes; use openbell kill")
        self._used[nonce] = now
        try:
            self._write()
        except OSError as exc:
            if not must_last:
                return True
            # Not obeyed: sent again it must hear the same, not that it was obeyed before.
            del self._used[nonce]
            raise StorageError(
                f"{self._path} could not be written ({exc.strerror}); use openbell kill"
            ) from exc
        return True

    def _write(self) -> None:
        text = json.dumps({nonce: at.isoformat() for nonce, at in self._used.items()})
        temporary = self._path.with_suffix(".part")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self._path)


def _read(path: Path) -> dict[str, dt.datetime]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {nonce: dt.datetime.fromisoformat(at) for nonce, at in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise StorageError(f"{path} cannot be read ({exc}); remove it and restart") from exc
