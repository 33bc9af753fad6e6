"""Which code and which settings make the plans of this process.

A plan is the work of one program.  When a checkout is updated under a running daemon, parts
that are loaded later come from the new version; and when a daemon is restarted with another
version or other settings in the middle of sending, it would add its own orders to those of
the old one.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from daemon.config import Config

_ROOT = Path(__file__).parents[1]
ROOMS = (
    "backtest",
    "brokers",
    "daemon",
    "domain",
    "execution",
    "forecasts",
    "marketdata",
    "modelserver",
    "reports",
    "risk",
    "sentiment",
    "state",
    "strategies",
    "transport",
)
# Where a log goes or a page listens makes no other order.
DECIDING = (
    "universe",
    "mode",
    "schedule",
    "broker",
    "marketdata",
    "news",
    "forecasts",
    "sentiment",
    "strategies",
    "risk",
    "costs",
)
_DIGITS = 12


def made_by(config: Config, root: Path = _ROOT) -> str:
    """Return what names code and settings as they are now, such as ``9f2c01d4b7aa-51d0c3e8f210``.

    Args:
        config: its sections that orders follow from are in the second half.
        root: where the rooms lie; every Python file in them is in the first half.
    """
    return f"{_digest_of_code(root)}-{_digest_of_settings(config)}"


def _digest_of_code(root: Path) -> str:
    found = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            found.update(f"{path.relative_to(root).as_posix()}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:_DIGITS]


def _digest_of_settings(config: Config) -> str:
    sections = dataclasses.asdict(config)
    text = json.dumps({name: sections[name] for name in DECIDING}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
