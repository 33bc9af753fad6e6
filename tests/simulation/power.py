"""The power goes: what was not synced is gone or torn, and every program of the machine ends.

Of small files the model knows what was synced: their bytes at the last fsync of each, their
names at the last fsync of the directory.  SQLite syncs its log at each COMMIT; until that has
returned the tail of the log may be missing, cut in the middle or hold half a page.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from domain.clock import Clock
from domain.errors import StateError
from state.store import Store
from tests.simulation.branching import Branches
from tests.simulation.disk import Disk
from tests.simulation.processes import Process, outside
from tests.simulation.trouble import Trouble

_STATE = Path("state")
_LOG = _STATE / "openbell.db-wal"
_HEADER, _FRAME = 32, 24 + 4096


class PowerCuts:
    """Cut the power in each COMMIT and after each step that leaves something un-synced."""

    def __init__(
        self, branches: Branches, disk: Disk, clock: Clock, power_off: Callable[[], None]
    ) -> None:
        self._branches = branches
        self._clock = clock
        self._power_off = power_off
        self._bytes: dict[int, bytes] = {}
        self._names: dict[str, int] = {}
        self._log_before: bytes | None = None
        self._is_over = False
        disk.committing = self._committing
        disk.synced = self._synced

    def attach(self, process: Process) -> None:
        """Watch every life of the daemon and of a kill."""
        if not self._is_over and process.name.startswith(("daemon", "kill")):
            process.watcher = self

    def trouble(
        self, _process: Process, _what: str, _among: tuple[Trouble, ...]
    ) -> tuple[Trouble, float] | None:
        """Leave the disk alone."""
        return None

    def dies(self, process: Process, what: str) -> bool:
        """Cut the power in a branch, when that loses something."""
        if self._is_over:
            return False
        if what == "pwrite" and self._log_before is not None:
            self._lose_what_was_promised(process, self._log_before)
            self._log_before = None
        label = f"{process.name} step {process.steps} {what}: what is not synced is gone"
        with outside():
            durable = self._durable()
            if durable == {name: path.read_bytes() for name, path in _small_files()}:
                return False
        if not self._branches.fork(label):
            return False
        with outside():
            self._restore(durable)
        self._end()
        return True

    def _end(self) -> None:
        self._is_over = True
        self._power_off()

    def _committing(self, process: Process, commit: Callable[[], Any]) -> Any:
        if self._is_over or process.watcher is not self:
            return commit()
        before = _LOG.read_bytes() if _LOG.exists() else b""
        cursor = commit()
        after = _LOG.read_bytes()
        if _LOG.name not in self._names:
            # With the first frame of its log SQLite syncs the directory.
            self._sync_names()
        for how, log in _tails(before, after):
            if self._branches.fork(f"{process.name} commit after step {process.steps}: {how}"):
                with outside():
                    _LOG.write_bytes(log)
                self._end()
                process.die(f"in a commit: {how}")
        self._log_before = before
        return cursor

    def _lose_what_was_promised(self, process: Process, log: bytes) -> None:
        """Take back a commit that was synced, as a lying disk does: the mark must tell."""
        if not self._branches.fork(f"{process.name} step {process.steps}: the disk had lied"):
            return
        found = [("I17", "a commit that was promised is gone, and the store opens")]
        with outside():
            _LOG.write_bytes(log)
            try:
                Store.open(_STATE, clock=self._clock)
            except StateError:
                found = []
        self._branches.deliver(found, "")

    def _synced(self, descriptor: int) -> None:
        with outside():
            about = os.fstat(descriptor)
            if stat.S_ISDIR(about.st_mode):
                self._sync_names()
            else:
                path = Path(f"/proc/self/fd/{descriptor}")
                self._bytes[about.st_ino] = path.read_bytes()

    def _sync_names(self) -> None:
        self._names = {entry.name: entry.inode() for entry in os.scandir(_STATE)}

    def _durable(self) -> dict[str, bytes]:
        return {
            name: self._bytes.get(inode, b"")
            for name, inode in sorted(self._names.items())
            if _is_small(name)
        }

    def _restore(self, durable: dict[str, bytes]) -> None:
        for path in sorted(_STATE.iterdir()):
            # Folders, of reports and backups, are beyond what is modelled.
            if path.name not in self._names and not path.is_dir():
                path.unlink()
        for name, content in durable.items():
            (_STATE / name).write_bytes(content)


def _is_small(name: str) -> bool:
    return name.startswith(("KILL", "openbell.hwm"))


def _small_files() -> Iterator[tuple[str, Path]]:
    for path in sorted(_STATE.iterdir()):
        if _is_small(path.name):
            yield path.name, path


def _tails(before: bytes, after: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what the log may be while the frames between the two are on their way."""
    old = before.ljust(len(after), b"\0")
    frames = range(_HEADER, len(after), _FRAME)
    new = [at for at in frames if after[at : at + _FRAME] != old[at : at + _FRAME]]
    if not new:
        return
    yield "its frames are lost", before
    last = new[-1]
    if len(new) > 1:
        middle = new[len(new) // 2]
        yield "half of its frames are lost", after[:middle] + old[middle : len(before)]
    torn = after[: last + _FRAME // 2] + bytes(_FRAME - _FRAME // 2)
    yield "its last frame is torn", torn + after[last + _FRAME :]
