"""Give every run of the tests the same ground: files in memory, a Ctrl-C that arrives, no haste.

The books sync every commit to the disk: that is their promise, and most of the time of a
test on a busy disk.  What is tested does not change with the medium.
"""

import os
import shutil
import signal
from pathlib import Path

from hypothesis import HealthCheck, settings

_MEMORY = Path("/dev/shm")  # noqa: S108  # pytest makes a private folder in it
_ROOM = 2 * 1024**3  # containers often have 64 MB only

if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# A shell that starts something in the background lets it, and all that it starts, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no finding; whatever else the surroundings set (`CI`) stays.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")
