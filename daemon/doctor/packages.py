"""Are the packages the ones that were tested?  A checkout has the list, with a version for each."""

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from daemon.config import Config
from daemon.doctor.finding import Finding, ok, warning

LOCKED = Path(__file__).parents[2] / "requirements" / "core.txt"
_PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)
_MOST_NAMED = 5


def packages(config: Config, locked: Path = LOCKED) -> Iterator[Finding]:
    """Compare what is installed with the list; what is not installed is for another platform."""
    del config
    if not locked.exists():
        return
    pins = _PIN.findall(locked.read_text(encoding="utf-8"))
    installed = {name: version for name, _ in pins if (version := _installed(name)) is not None}
    others = [
        f"{name} {installed[name]} ({pin})"
        for name, pin in pins
        if name in installed and installed[name] != pin
    ]
    if not others:
        yield ok("packages", f"{len(installed)} are as tested")
        return
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    yield warning(
        "packages",
        f"other versions than tested: {', '.join(others[:_MOST_NAMED])}{more}",
        fix="run `make setup` in the checkout",
    )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
