"""A disk that refuses: who was up is halted and begins again, who was not refuses to start."""

from pathlib import Path

import pytest

from daemon.app import _restartable
from daemon.telemetry.vitals import Vitals
from domain.errors import RestartNeeded, StorageError
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
