"""docs/runbook.md, taken apart: blocks to execute, blocks for root, and what is named inline."""

import re
from dataclasses import dataclass

from tests.support.running import REPOSITORY

PAGE = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; ``scene`` says whether a daemon runs beside it."""

    language: str
    scene: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines without comments."""
        return [line.split("  #")[0].strip() for line in self.text.splitlines() if line.strip()]


def blocks() -> list[Block]:
    """Return every fenced block in the order of the page."""
    return [Block(*match) for match in _BLOCK.findall(PAGE)]


def inline() -> set[str]:
    """Return the commands named in running text and tables."""
    rest = _BLOCK.sub("", PAGE)
    spans = {span.strip() for span in re.findall(r"`([^`\n]+)`", rest)}
    return {span for span in spans if span.split()[0] in {"openbell", "systemctl", "journalctl"}}
