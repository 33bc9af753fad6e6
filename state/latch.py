"""The latch: one small file, ``KILL``, that says whether this account may trade.

No SQLite here: the latch must work with the database locked, corrupt or gone.  Every
way to read it wrongly ends in "engaged", and an engage wins every race with a release.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import sha256
from pathlib import Path

from domain.errors import StateError, StorageError

VERSION = 1
_RESERVE_BYTES = 4096
_MAX_BYTES = 64 * 1024
# Escaped, this many characters of reason still fit into the reserve.
_REASON_CHARACTERS = 500


@unique
class KillAction(StrEnum):
    """Work at the broker that an engaged latch still asks for."""

    CANCEL = "cancel"
    FLATTEN = "flatten"  # cancel, and close every position


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchState:
    """What the latch says; ``sequence`` rises with every change, 0 when nothing was readable.

    ``pending`` is what a kill wanted and nobody has seen completed yet;
    ``is_broker_locked`` that a kill saw the broker's own lock on new orders set;
    ``is_shorting_forbidden`` that a kill forbade short sales at the broker, where they were
    allowed before; ``closings`` how often a kill began to close positions;
    ``closing_written_at`` when, by the broker's clock, one last wrote a closing order whose
    twin the broker may take as well.
    """

    is_engaged: bool
    reason: str
    at: dt.datetime | None
    sequence: int
    pending: KillAction | None = None
    is_broker_locked: bool = False
    is_shorting_forbidden: bool = False
    closings: int = 0
    closing_written_at: dt.datetime | None = None


class Latch:
    """The latch file of one state directory; missing, unreadable or invalid means engaged."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "KILL"
        self._aside = directory / "KILL.previous"
        self._reserve = directory / "KILL.reserve"

    def read(self) -> LatchState:
        """Read the file; never raises."""
        return _read(self.path)

    def engage(
        self, reason: str, at: dt.datetime, *, pending: KillAction | None = None
    ) -> LatchState:
        """Engage, durably; wins every race with a release.

        Pending work of an earlier kill stays pending.  On a full disk the record goes into
        space that was set aside; where even that fails an armed file is removed, since a
        missing one counts as engaged.

        Raises:
            StorageError: the disk took neither the record nor the removal of an armed one.
        """
        before = self.read()
        state = dataclasses.replace(
            before,
            is_engaged=True,
            reason=reason,
            at=at,
            sequence=self._last_sequence() + 1,
            pending=_stronger(before.pending, pending),
        )
        try:
            self._replace(_encode(state))
        except OSError as exc:
            self._disarm(exc)
        self._set_aside_space()
        return self.read()

    def complete(
        self, action: KillAction, at: dt.datetime, *, is_broker_locked: bool = False
    ) -> LatchState:
        """Note that a kill is done at the broker; a stronger one stays pending, all stay engaged.

        Args:
            action: what is done.
            at: when it was; the latch keeps the moment at which it was engaged.
            is_broker_locked: the broker's own lock on new orders was read back as set.

        Raises:
            StorageError: the disk refused; the work stays pending.
        """
        before = self.read()
        if before.pending is None or _stronger(before.pending, action) is not action:
            return before
        done = dataclasses.replace(
            before,
            sequence=before.sequence + 1,
            pending=None,
            is_broker_locked=is_broker_locked,
        )
        return self._update(done)

    def begin_closing(self, *, forbids_shorting: bool) -> LatchState:
        """Note that a kill is about to close positions, and what it changes at the broker first.

        Args:
            forbids_shorting: short sales are allowed at the broker and about to be
                forbidden, so that a resume has to allow them again.

        Raises:
            StateError: the latch is not engaged, or cannot be read.
            StorageError: the disk refused; nothing is noted.
        """
        before = self._engaged()
        return self._update(
            dataclasses.replace(
                before,
                sequence=before.sequence + 1,
                is_shorting_forbidden=before.is_shorting_forbidden or forbids_shorting,
                closings=before.closings + 1,
            )
        )

    def note_closing(self, at: dt.datetime) -> LatchState:
        """Note that a closing order is about to be written whose twin may be taken as well.

        Args:
            at: now, by the broker's clock.

        Raises:
            StateError: the latch is not engaged, or cannot be read.
            StorageError: the disk refused; nothing is noted.
        """
        before = self._engaged()
        return self._update(
            dataclasses.replace(before, sequence=before.sequence + 1, closing_written_at=at)
        )

    def release(
        self,
        reason: str,
        at: dt.datetime,
        *,
        expected_sequence: int | None = None,
        above: int = 0,
    ) -> LatchState:
        """Arm again, unless the latch changed since ``expected_sequence`` was read.

        Args:
            reason: why it is safe; kept.
            at: when.
            expected_sequence: the latch as it was seen.
            above: the number that the database remembers; a file that was lost begins at 0
                again, and only a later release than that of the database is one.

        Raises:
            StateError: it was engaged anew meanwhile; it stays engaged.
            StorageError: the disk refused; it stays engaged.
        """
        armed = LatchState(
            is_engaged=False,
            reason=reason,
            at=at,
            sequence=max(self._last_sequence(), above) + 1,
        )
        try:
            self._take_aside(expected_sequence)
            self._publish_new(_encode(armed))
        except OSError as exc:
            raise StorageError(
                f"{self.path} could not be released ({exc}); it stays engaged, free the disk"
                " and resume again"
            ) from exc
        self._set_aside_space()
        return self.read()

    def arm_new(self, at: dt.datetime) -> LatchState:
        """Create the latch of a fresh state directory, armed; an existing one is kept.

        Raises:
            StorageError: the disk refused.
        """
        armed = LatchState(is_engaged=False, reason="new state directory", at=at, sequence=1)
        try:
            with contextlib.suppress(StateError):
                self._publish_new(_encode(armed))
        except OSError as exc:
            raise StorageError(f"{self.path} could not be created: {exc}") from exc
        self._set_aside_space()
        return self.read()

    def _engaged(self) -> LatchState:
        state = self.read()
        if not state.is_engaged or state.sequence == 0:
            raise StateError(f"{self.path} is not engaged: nothing can be noted in it")
        return state

    def _update(self, state: LatchState) -> LatchState:
        try:
            self._replace(_encode(state))
        except OSError as exc:
            raise StorageError(f"{self.path} could not be updated ({exc}); free the disk") from exc
        return self.read()

    def _last_sequence(self) -> int:
        return max(_read(self.path).sequence, _read(self._aside).sequence)

    def _replace(self, line: bytes) -> None:
        temporary = self._temporary()
        try:
            _write_durably(temporary, line)
        except OSError:
            temporary.unlink(missing_ok=True)
            # The blocks of the reserve are allocated: writing into them needs no space.
            _overwrite_durably(self._reserve, line)
            temporary = self._reserve
        temporary.replace(self.path)
        _sync_directory(self.path.parent)

    def _disarm(self, cause: OSError) -> None:
        try:
            self.path.unlink(missing_ok=True)
            _sync_directory(self.path.parent)
        except OSError:
            if not _read(self.path).is_engaged:
                raise StorageError(
                    f"{self.path} could not be engaged ({cause}); cancel at the broker"
                    " and stop the daemon"
                ) from cause

    def _take_aside(self, expected_sequence: int | None) -> None:
        # From here until a new file is published the latch is missing, so engaged.
        with contextlib.suppress(FileNotFoundError):
            self.path.replace(self._aside)
            _sync_directory(self.path.parent)
            found = _read(self._aside).sequence
            if expected_sequence is not None and found != expected_sequence:
                # link(), unlike rename(), never replaces what a kill wrote meanwhile.
                with contextlib.suppress(FileExistsError):
                    os.link(self._aside, self.path)
                raise StateError(
                    f"{self.path} changed while it was being released; it stays engaged,"
                    " read the status and resume again"
                )

    def _publish_new(self, line: bytes) -> None:
        temporary = self._temporary()
        try:
            _write_durably(temporary, line)
            os.link(temporary, self.path)
        except FileExistsError as exc:
            raise StateError(
                f"{self.path} was engaged again while it was being released; it stays engaged"
            ) from exc
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(self.path.parent)

    def _temporary(self) -> Path:
        return self.path.with_name(f"KILL.{os.getpid()}")

    def _set_aside_space(self) -> None:
        # Best effort: without a reserve a kill on a full disk still removes an armed latch.
        with contextlib.suppress(OSError):
            if not self._reserve.exists():
                _write_durably(self._reserve, b"\n" * _RESERVE_BYTES)


def _read(path: Path) -> LatchState:
    try:
        with path.open("rb") as file:
            line = file.read(_MAX_BYTES)
        return _decode(line)
    except FileNotFoundError:
        return _doubtful(f"{path} is missing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        return _doubtful(f"{path} cannot be read: {exc}")


def _stronger(one: KillAction | None, other: KillAction | None) -> KillAction | None:
    if KillAction.FLATTEN in {one, other}:
        return KillAction.FLATTEN
    return one or other


def _doubtful(reason: str) -> LatchState:
    return LatchState(is_engaged=True, reason=reason, at=None, sequence=0)


def _encode(state: LatchState) -> bytes:
    record: dict[str, object] = {
        "version": VERSION,
        "state": "engaged" if state.is_engaged else "armed",
        "sequence": state.sequence,
        "reason": state.reason[:_REASON_CHARACTERS],
        "at": _iso(state.at),
        "pending": state.pending.value if state.pending else None,
        "is_broker_locked": state.is_broker_locked,
        "is_shorting_forbidden": state.is_shorting_forbidden,
        "closings": state.closings,
        "closing_written_at": _iso(state.closing_written_at),
    }
    record["checksum"] = _checksum(record)
    return json.dumps(record, sort_keys=True).encode() + b"\n"


@functools.lru_cache(maxsize=2)
def _decode(line: bytes) -> LatchState:
    # A record in the reserve is followed by what was there before it.
    record = json.loads(line.split(b"\n", 1)[0])
    checksum = record.pop("checksum")
    if record["version"] != VERSION or checksum != _checksum(record):
        raise ValueError("its checksum or version is wrong")
    if record["state"] not in {"engaged", "armed"}:
        raise ValueError("its state is neither engaged nor armed")
    return LatchState(
        is_engaged=record["state"] != "armed",
        reason=str(record["reason"]),
        at=_moment(record["at"]),
        sequence=int(record["sequence"]),
        pending=KillAction(record["pending"]) if record.get("pending") else None,
        is_broker_locked=record.get("is_broker_locked") is True,
        # Absent in files of earlier versions.
        is_shorting_forbidden=record.get("is_shorting_forbidden") is True,
        closings=int(record.get("closings", 0)),
        closing_written_at=_moment(record.get("closing_written_at")),
    )


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None


def _checksum(record: Mapping[str, object]) -> str:
    return sha256(json.dumps(dict(record), sort_keys=True).encode()).hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    _write(path, content, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def _overwrite_durably(path: Path, content: bytes) -> None:
    _write(path, content, os.O_WRONLY)


def _write(path: Path, content: bytes, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
