import datetime as dt
import errno
import json
import os
from pathlib import Path

import pytest

from domain.errors import StateError, StorageError
from state import latch_record
from state.files import DATABASE
from state.latch import Latch
from state.latch_record import KillAction

AT = dt.datetime(2022, 12, 14, 15, 0, tzinfo=dt.UTC)


@pytest.fixture
def latch(tmp_path: Path) -> Latch:
    armed = Latch(tmp_path)
    armed.arm_new(AT)
    return armed


def test_a_new_directory_begins_armed(latch: Latch) -> None:
    assert latch.read().is_engaged is False
    assert latch.read().sequence == 1


def test_arming_a_new_directory_keeps_a_latch_that_is_there(latch: Latch) -> None:
    latch.engage("by hand", AT)

    assert latch.arm_new(AT).is_engaged


def test_engage_is_read_back_with_its_reason(latch: Latch) -> None:
    latch.engage("drawdown 5.1 %", AT)

    state = latch.read()
    assert (state.is_engaged, state.reason, state.at, state.sequence) == (
        True,
        "drawdown 5.1 %",
        AT,
        2,
    )


def test_release_arms_and_raises_the_sequence(latch: Latch) -> None:
    engaged = latch.engage("by hand", AT)

    armed = latch.release("checked", AT, expected_sequence=engaged.sequence)

    assert armed.is_engaged is False
    assert armed.sequence > engaged.sequence


def test_missing_file_means_engaged(tmp_path: Path) -> None:
    state = Latch(tmp_path).read()

    assert state.is_engaged
    assert "missing" in state.reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 40,
        b"armed",
        b"[]",
        b"null",
        b'{"version": 1, "state": "armed"}',
        b"[" * 100_000,
    ],
)
def test_unreadable_content_means_engaged(latch: Latch, content: bytes) -> None:
    latch.path.write_bytes(content)

    assert latch.read().is_engaged


def test_every_truncation_of_an_armed_latch_means_engaged(latch: Latch) -> None:
    whole = latch.path.read_bytes().rstrip(b"\n")

    for length in range(len(whole)):
        latch.path.write_bytes(whole[:length])
        assert latch.read().is_engaged, length


def test_every_single_changed_byte_of_an_armed_latch_means_engaged(latch: Latch) -> None:
    whole = bytearray(latch.path.read_bytes().rstrip(b"\n"))

    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x01
        latch.path.write_bytes(bytes(changed))
        # A changed space between two fields says the same.
        if not latch.read().is_engaged:
            assert json.loads(bytes(changed)) == json.loads(bytes(whole))


def test_record_of_an_unknown_version_means_engaged(latch: Latch) -> None:
    record = json.loads(latch.path.read_bytes())
    record["version"] = 2
    del record["checksum"]
    record["checksum"] = latch_record._checksum(record)
    latch.path.write_text(json.dumps(record))

    assert latch.read().is_engaged


def test_record_of_an_unknown_state_means_engaged(latch: Latch) -> None:
    record = json.loads(latch.path.read_bytes())
    record["state"] = "off"
    del record["checksum"]
    record["checksum"] = latch_record._checksum(record)
    latch.path.write_text(json.dumps(record))

    assert latch.read().is_engaged


def test_directory_in_its_place_means_engaged(tmp_path: Path) -> None:
    (tmp_path / "KILL").mkdir()

    assert Latch(tmp_path).read().is_engaged


def test_release_is_refused_when_a_kill_came_between(latch: Latch) -> None:
    seen = latch.engage("first", AT)
    latch.engage("second", AT)

    with pytest.raises(StateError, match="resume again"):
        latch.release("checked", AT, expected_sequence=seen.sequence)
    assert latch.read().is_engaged
    assert latch.read().reason == "second"


def test_kill_in_the_middle_of_a_release_wins(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = latch.engage("first", AT)
    publish = Latch._publish_new

    def kill_first(self: Latch, line: bytes) -> None:
        Latch(self.path.parent).engage("second", AT)
        publish(self, line)

    monkeypatch.setattr(Latch, "_publish_new", kill_first)

    with pytest.raises(StateError, match="engaged again"):
        latch.release("checked", AT, expected_sequence=seen.sequence)
    assert latch.read().reason == "second"


def test_crash_in_the_middle_of_a_release_stays_engaged(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch.engage("first", AT)

    def crash(self: Latch, line: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Latch, "_publish_new", crash)

    with pytest.raises(KeyboardInterrupt):
        latch.release("checked", AT)
    assert latch.read().is_engaged


def test_release_of_a_deleted_latch_arms_it(tmp_path: Path) -> None:
    assert Latch(tmp_path).release("checked", AT).is_engaged is False


def test_sequence_does_not_fall_when_the_file_was_lost_in_a_release(latch: Latch) -> None:
    engaged = latch.engage("first", AT)
    latch.path.replace(latch.path.with_name("KILL.previous"))

    assert latch.engage("second", AT).sequence > engaged.sequence


def refuse_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def full(path: object, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_open(path, flags, mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)


def test_full_disk_engages_into_the_reserved_space(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_new_files(monkeypatch)

    state = latch.engage("disk is full", AT)

    assert (state.is_engaged, state.reason) == (True, "disk is full")


def test_full_disk_without_a_reserve_removes_the_armed_latch(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (latch.path.parent / "KILL.reserve").unlink()
    (latch.path.parent / DATABASE).touch()
    refuse_new_files(monkeypatch)

    assert latch.engage("disk is full", AT).is_engaged
    assert not latch.path.exists()
    assert latch.holds()


def test_full_disk_before_the_first_start_is_told_since_that_start_would_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Found as seed 15001616: a missing latch was called engaged, and the first start made it armed.
    latch = Latch(tmp_path)
    refuse_new_files(monkeypatch)

    with pytest.raises(StorageError, match="could not be engaged"):
        latch.engage("before anything was begun", AT)

    assert not latch.holds()


def test_reserve_is_laid_aside_again_after_it_was_used(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refuse_new_files(patch)
        latch.engage("disk is full", AT)

    latch.engage("again", AT)

    assert (latch.path.parent / "KILL.reserve").stat().st_size == 4096
    assert latch.read().reason == "again"


def test_disk_that_takes_nothing_at_all_is_told(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)

    with pytest.raises(StorageError, match="cancel at the broker"):
        latch.engage("by hand", AT)


def test_read_only_disk_with_an_engaged_latch_stays_engaged(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch.engage("first", AT)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)

    assert latch.engage("second", AT).is_engaged


def test_release_on_a_full_disk_stays_engaged(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch.engage("first", AT)
    refuse_new_files(monkeypatch)

    with pytest.raises(StorageError, match="stays engaged"):
        latch.release("checked", AT)
    assert latch.read().is_engaged


def test_new_directory_on_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_new_files(monkeypatch)

    with pytest.raises(StorageError, match="could not be created"):
        Latch(tmp_path).arm_new(AT)


def test_long_reason_is_cut_so_that_it_fits_the_reserve(latch: Latch) -> None:
    latch.engage("\N{SNOWMAN}" * 10_000, AT)

    assert latch.path.stat().st_size < 4096
    assert latch.read().reason.startswith("\N{SNOWMAN}")


def test_latch_cannot_be_engaged_through_a_link(latch: Latch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("keep me")
    (tmp_path / f"KILL.{os.getpid()}").symlink_to(elsewhere)

    assert latch.engage("by hand", AT).is_engaged
    assert elsewhere.read_text() == "keep me"


def test_pending_work_stays_until_it_is_completed(latch: Latch) -> None:
    latch.engage("kill", AT, pending=KillAction.FLATTEN)
    latch.engage("a bug", AT, pending=KillAction.CANCEL, is_asked=False)

    assert latch.read().pending is KillAction.FLATTEN
    assert latch.complete(KillAction.CANCEL, AT).pending is KillAction.FLATTEN
    assert latch.complete(KillAction.FLATTEN, AT).pending is None
    assert latch.read().is_engaged


def test_a_plain_kill_of_a_person_takes_a_flatten_back_once_it_is_seen_done(latch: Latch) -> None:
    latch.engage("gone", AT, pending=KillAction.FLATTEN)
    latch.engage("keep them", AT, pending=KillAction.CANCEL)
    assert latch.read().pending is KillAction.FLATTEN, "nobody has seen it done yet"

    state = latch.complete(KillAction.CANCEL, AT)

    assert (state.is_engaged, state.pending, state.is_closing_wanted) == (True, None, False)


def test_a_plain_kill_takes_no_flatten_back_that_was_asked_for_after_it(latch: Latch) -> None:
    latch.engage("stop", AT, pending=KillAction.CANCEL)
    latch.engage("gone", AT, pending=KillAction.FLATTEN)

    assert latch.complete(KillAction.CANCEL, AT).pending is KillAction.FLATTEN


def test_a_completion_without_pending_work_writes_nothing(latch: Latch) -> None:
    latch.engage("by hand", AT)
    written = latch.path.read_bytes()

    state = latch.complete(KillAction.CANCEL, AT, is_broker_locked=True)

    assert latch.path.read_bytes() == written
    assert state == latch.read()


def test_completion_that_the_disk_refuses_leaves_the_work_pending(
    latch: Latch, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch.engage("kill", AT, pending=KillAction.CANCEL)

    def refuse(self: Latch, line: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Latch, "_replace", refuse)

    with pytest.raises(StorageError):
        latch.complete(KillAction.CANCEL, AT)
    assert latch.read().pending is KillAction.CANCEL


def test_latch_file_of_a_version_without_the_later_fields_is_read(latch: Latch) -> None:
    latch.engage("flatten", AT, pending=KillAction.FLATTEN)
    record = json.loads(latch.path.read_bytes())
    for name in ("checksum", "is_shorting_forbidden", "closings", "closing_written_at"):
        del record[name]
    record["checksum"] = latch_record._checksum(record)
    latch.path.write_text(json.dumps(record))

    state = latch.read()

    assert (state.is_engaged, state.reason, state.pending) == (True, "flatten", KillAction.FLATTEN)
    assert (state.is_shorting_forbidden, state.closings) == (False, 0)
    assert state.closing_written_at is None


def test_what_a_kill_changed_at_the_broker_is_remembered_until_the_release(latch: Latch) -> None:
    latch.engage("first", AT, pending=KillAction.FLATTEN)
    latch.begin_closing(forbids_shorting=True)
    latch.engage("second", AT, pending=KillAction.FLATTEN)
    # Now it is forbidden there already.
    latch.begin_closing(forbids_shorting=False)
    latch.note_closing(AT)

    done = latch.complete(KillAction.FLATTEN, AT, is_broker_locked=True)
    armed = latch.release("checked", AT)

    assert (done.is_shorting_forbidden, done.closings) == (True, 2)
    assert done.closing_written_at == AT
    assert done.reason == "second"
    assert (armed.is_shorting_forbidden, armed.closings) == (False, 0)
    assert armed.closing_written_at is None


def test_armed_or_unreadable_latch_notes_no_closing(latch: Latch) -> None:
    with pytest.raises(StateError, match="not engaged"):
        latch.begin_closing(forbids_shorting=True)
    latch.path.write_bytes(b"{")
    with pytest.raises(StateError, match="not engaged"):
        latch.begin_closing(forbids_shorting=True)
    with pytest.raises(StateError, match="not engaged"):
        latch.note_closing(AT)

    assert latch.read().sequence == 0


def test_longest_reason_leaves_room_for_every_field_in_the_reserve(latch: Latch) -> None:
    latch.engage("\x00" * 1000, AT, pending=KillAction.FLATTEN)
    latch.begin_closing(forbids_shorting=True)
    latch.note_closing(AT)

    assert len(latch.path.read_bytes()) <= 4096


def test_a_latch_that_nobody_may_look_for_is_not_vouched_for(tmp_path: Path) -> None:
    # A name that the file system refuses to look up, as it does in a folder that is closed.
    latch = Latch(tmp_path / ("x" * 300))

    assert latch.read().is_engaged
    assert not latch.holds()


def test_what_a_person_asked_for_last_is_what_is_wanted(latch: Latch) -> None:
    latch.engage("gone at the open", AT, pending=KillAction.FLATTEN)
    latch.begin_closing(forbids_shorting=False)
    latch.complete(KillAction.FLATTEN, AT)
    assert latch.read().is_closing_wanted
    latch.engage("a bug", AT, pending=KillAction.CANCEL, is_asked=False)
    assert latch.read().is_closing_wanted, "the daemon takes no flatten back"

    latch.engage("keep them", AT, pending=KillAction.CANCEL)

    assert not latch.read().is_closing_wanted


def test_a_flatten_that_is_not_done_yet_is_wanted_whatever_is_asked_after_it(
    latch: Latch,
) -> None:
    latch.engage("gone", AT, pending=KillAction.FLATTEN)
    latch.engage("stop", AT, pending=KillAction.CANCEL)
    assert latch.read().is_closing_wanted

    latch.release("done", AT)

    assert not latch.read().is_closing_wanted


def test_a_latch_of_an_earlier_version_wants_what_it_began_to_close(latch: Latch) -> None:
    latch.engage("gone", AT)
    latch.begin_closing(forbids_shorting=False)

    assert latch.read().is_closing_wanted
