"""One world for one test: a server process and a home of its own."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import World, world
from tests.support.small_disk import SmallDisk, mounted


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> World:
            return stack.enter_context(world(tmp_path, **options))

        yield make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk") as disk:
        yield disk
