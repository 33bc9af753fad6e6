"""A real disk that a test can fill."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_BLOCK = b"x" * 4096


class SmallDisk:
    """Three mebibytes of memory, mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no room for another byte."""
        with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(_BLOCK)

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextlib.contextmanager
def mounted(path: Path) -> Iterator[SmallDisk]:
    """Mount one, or skip the test where that is not allowed."""
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    options = ["-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(path)]
    if subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("this machine does not let root mount a disk")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run([shutil.which("umount") or "umount", "--lazy", str(path)], check=True)
