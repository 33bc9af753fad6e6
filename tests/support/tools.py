"""Programs that cannot come with the Python packages: found, or missed out loud."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest

# Program -> the Debian package that brings it.
_PACKAGES: Final = {
    "chromium": "chromium",
    "mosquitto": "mosquitto",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}
_OTHER_NAMES: Final = {"chromium": ("chromium-browser", "google-chrome")}


def find_tool(name: str) -> str | None:
    """Return the program's path: on the PATH, among the daemons, or beside this Python."""
    beside = str(Path(sys.executable).parent)
    places = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin", beside])
    names = (name, *_OTHER_NAMES.get(name, ()))
    return next((found for each in names if (found := shutil.which(each, path=places))), None)


def tool(name: str) -> str:
    """Return the program's path; without it the test skips, and on a CI machine it fails."""
    found = find_tool(name)
    if found is None:
        miss(f"{name} is not installed (Debian package {_PACKAGES[name]})")
    return found


def miss(reason: str) -> NoReturn:
    """Skip the test with its reason; a CI machine has everything, so there it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
