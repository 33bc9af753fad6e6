"""The latch: one small file, ``KILL``, that says whether this account may trade.

No SQLite here: the latch must work with the database locked, corrupt or gone.  Every
way to read it wrongly ends in "engaged", and an engage wins every race with a release.
"""

import contextlib
import dataclasses
import datetime as dt
import os
from pathlib import Path
from typing import Any

from domain.errors import StateError, StorageError
from state.durable import overwrite_durably, sync_directory, taking_turns, write_durably
from state.files import DATABASE
from state.latch_record import KillAction, LatchState, encode, read_record, stronger

_RESERVE_BYTES = 4096


class Latch:
    """The latch file of one state directory; missing, unreadable or invalid means engaged."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "KILL"
        self._aside = directory / "KILL.previous"
        self._reserve = directory / "KILL.reserve"

    def read(self) -> LatchState:
        """Read the file; never raises."""
        return read_record(self.path)

    def holds(self) -> bool:
        """Tell whether the next start finds it engaged.

        A missing one is engaged beside books only: a directory without any begins armed.
        """
        try:
            is_there = self.path.exists() or self._has_books()
        except OSError:
            # Who may not even look cannot vouch for it.
            return False
        return is_there and self.read().is_engaged

    def engage(
        self,
        reason: str,
        at: dt.datetime,
        *,
        pending: KillAction | None = None,
        is_asked: bool = True,
    ) -> LatchState:
        """Engage, durably; wins every race with a release.

        Pending work of an earlier kill stays pending until one is seen done.  On a full disk
        the record goes into space that was set aside; where even that fails an armed file is
        removed, since a missing one counts as engaged beside books.

        Args:
            reason: kept.
            at: now.
            pending: what is to be done at the broker.
            is_asked: a person wants that, and no longer what they wanted before.

        Raises:
            StorageError: the disk took neither the record nor the removal of an armed one, or
                the directory has no books yet, and the first start would arm it.
        """
        with taking_turns(self.path.parent):
            before = self.read()
            state = dataclasses.replace(
                before,
                is_engaged=True,
                reason=reason,
                at=at,
                sequence=self._last_sequence() + 1,
                pending=stronger(before.pending, pending),
                asked=(pending if is_asked else None) or before.asked,
            )
            try:
                self._replace(encode(state))
            except OSError as exc:
                self._disarm(exc)
        self._set_aside_space()
        return self.read()

    def complete(
        self, action: KillAction, at: dt.datetime, *, is_broker_locked: bool = False
    ) -> LatchState:
        """Note that a kill is done at the broker; a stronger one stays pending, all stay engaged.

        Unless a person asked for the weaker one last: seen done, it takes a flatten back that
        never came to its end.  Who thought better of it could resume in no other way.

        Args:
            action: what is done.
            at: when it was; the latch keeps the moment at which it was engaged.
            is_broker_locked: the broker's own lock on new orders was read back as set.

        Raises:
            StorageError: the disk refused; the work stays pending.
        """
        with taking_turns(self.path.parent):
            before = self.read()
            is_enough = action in {stronger(before.pending, action), before.asked}
            if before.pending is None or not is_enough:
                return before
            return self._update(before, pending=None, is_broker_locked=is_broker_locked)

    def begin_closing(self, *, forbids_shorting: bool) -> LatchState:
        """Note that a kill is about to close positions, and what it changes at the broker first.

        Args:
            forbids_shorting: short sales are allowed at the broker and about to be
                forbidden, so that a resume has to allow them again.

        Raises:
            StateError: the latch is not engaged, or cannot be read.
            StorageError: the disk refused; nothing is noted.
        """
        with taking_turns(self.path.parent):
            before = self._engaged()
            is_forbidden = before.is_shorting_forbidden or forbids_shorting
            return self._update(
                before, is_shorting_forbidden=is_forbidden, closings=before.closings + 1
            )

    def note_closing(self, at: dt.datetime) -> LatchState:
        """Note that a closing order is about to be written whose twin may be taken as well.

        Args:
            at: now, by the broker's clock.

        Raises:
            StateError: the latch is not engaged, or cannot be read.
            StorageError: the disk refused; nothing is noted.
        """
        with taking_turns(self.path.parent):
            return self._update(self._engaged(), closing_written_at=at)

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
            self._publish_new(encode(armed))
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
                self._publish_new(encode(armed))
        except OSError as exc:
            raise StorageError(f"{self.path} could not be created: {exc}") from exc
        self._set_aside_space()
        return self.read()

    def _engaged(self) -> LatchState:
        state = self.read()
        if not state.is_engaged or state.sequence == 0:
            raise StateError(f"{self.path} is not engaged: nothing can be noted in it")
        return state

    def _update(self, before: LatchState, **changes: Any) -> LatchState:
        state = dataclasses.replace(before, sequence=before.sequence + 1, **changes)
        try:
            self._replace(encode(state))
        except OSError as exc:
            raise StorageError(f"{self.path} could not be updated ({exc}); free the disk") from exc
        return self.read()

    def _last_sequence(self) -> int:
        return max(read_record(self.path).sequence, read_record(self._aside).sequence)

    def _replace(self, line: bytes) -> None:
        temporary = self._temporary()
        try:
            write_durably(temporary, line)
        except OSError:
            temporary.unlink(missing_ok=True)
            # The blocks of the reserve are allocated: writing into them needs no space.
            overwrite_durably(self._reserve, line)
            temporary = self._reserve
        temporary.replace(self.path)
        sync_directory(self.path.parent)

    def _has_books(self) -> bool:
        return (self.path.parent / DATABASE).exists()

    def _disarm(self, cause: OSError) -> None:
        if self._has_books():
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
                sync_directory(self.path.parent)
        if not self.holds():
            raise StorageError(
                f"{self.path} could not be engaged ({cause}); cancel at the broker"
                " and stop the daemon"
            ) from cause

    def _take_aside(self, expected_sequence: int | None) -> None:
        # From here until a new file is published the latch is missing, so engaged.
        with contextlib.suppress(FileNotFoundError):
            self.path.replace(self._aside)
            sync_directory(self.path.parent)
            found = read_record(self._aside).sequence
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
            write_durably(temporary, line)
            os.link(temporary, self.path)
        except FileExistsError as exc:
            raise StateError(
                f"{self.path} was engaged again while it was being released; it stays engaged"
            ) from exc
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(self.path.parent)

    def _temporary(self) -> Path:
        return self.path.with_name(f"KILL.{os.getpid()}")

    def _set_aside_space(self) -> None:
        # Best effort: without a reserve a kill on a full disk still removes an armed latch.
        with contextlib.suppress(OSError):
            if not self._reserve.exists():
                write_durably(self._reserve, b"\n" * _RESERVE_BYTES)
