"""A folder that the user of a daemon may not read, also where the tests run as root."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_NOBODY = 65534


@contextlib.contextmanager
def closed_folder(path: Path) -> Iterator[None]:
    """Close a folder to whoever runs the block; what it needs must be imported already."""
    is_root, mode = os.geteuid() == 0, path.stat().st_mode
    path.chmod(0)
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(mode)
