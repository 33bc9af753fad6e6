"""A disk that refuses: who was up is halted and begins again, who was not refuses to start."""

import errno
from pathlib import Path

import pytest

from daemon.app import _lasting_halt, _restartable
from daemon.telemetry.vitals import Vitals
from domain.errors import RestartNeeded, StorageError
from state.latch import Latch
from tests.support.order_scene import Scene
from tests.support.virtual_time import virtual


@virtual
async def test_e01_a_write_beside_the_order_path_that_the_disk_refuses_halts_too(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)

    with pytest.raises(RestartNeeded, match="trading is halted"):
        async with _restartable(scene.desk, Vitals(is_ready=True)):
            raise ExceptionGroup("tasks", [StorageError("the books are full")])

    assert scene.latch.read().reason == "storage: the books are full"


@virtual
async def test_e01_a_start_that_the_disk_refuses_is_no_restart(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    with pytest.raises(StorageError):
        async with _restartable(scene.desk, Vitals()):
            raise StorageError("the books are full")

    assert not scene.latch.read().is_engaged


def refuse(self: Latch, line: bytes) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


@virtual
async def test_e01_k07_a_kill_that_no_disk_had_taken_is_written_down_when_its_life_ends(
    tmp_path: Path,
) -> None:
    # A reload, or a beginning anew, makes a new desk in the same process.
    scene = Scene(tmp_path)

    async with _lasting_halt(scene.desk):
        scene.desk.is_halted = True

    assert scene.latch.read().is_engaged
    assert not scene.desk.is_halted


@virtual
async def test_e01_k07_where_the_disk_still_refuses_nothing_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    monkeypatch.setattr(Latch, "_replace", refuse)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: refuse(scene.latch, b""))

    scene.desk.is_halted = True

    with pytest.raises(StorageError, match="could not be engaged"):
        async with _lasting_halt(scene.desk):
            raise RestartNeeded("too much failed")


@virtual
async def test_a_life_without_a_halt_leaves_the_latch_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async with _lasting_halt(scene.desk):
        pass

    assert not scene.latch.read().is_engaged
