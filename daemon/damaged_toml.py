"""What is still legible of a TOML file with slips in it, for a kill in a hurry.

A line is left out only where it surely sets one key, and none that a kill goes by; of anything
else, a table's header above all, nobody can tell what the lines below it mean.
"""

import re
import tomllib
from typing import Any

_MOST_SLIPS = 20
_REPLACED = "\ufffd"
_AT = re.compile(r"\(at line (\d+),")
# Declared twice: which of the two is meant nobody can tell.
_TWICE = "Cannot"
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_ITEM = re.compile(r"""\s*("[^"]*"|'[^']*')\s*,?\s*(#.*)?$""")
_GONE_BY = frozenset({"mode", "kind", "trading_url", "directory"})


def legible(content: bytes) -> dict[str, Any]:
    """Return the tables of a file without the lines that are no TOML; empty where that is unsafe.

    Bytes that are no UTF-8 do no harm in a comment or beside what a kill goes by.
    """
    lines = content.decode("utf-8", errors="replace").split("\n")
    if any(_REPLACED in line and not _may_go([line]) and "=" in line for line in lines):
        return {}
    for _ in range(_MOST_SLIPS):
        try:
            return tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError as exc:
            at = _AT.search(str(exc))
            number = int(at[1]) - 1 if at is not None else len(lines)
            if str(exc).startswith(_TWICE) or not _may_go(lines[number : number + 1]):
                return {}
            lines[number] = ""
    return {}


def _may_go(found: list[str]) -> bool:
    key = _KEY.match(found[0]) if found else None
    if key is not None:
        return key[1] not in _GONE_BY
    return bool(found and _ITEM.match(found[0]))
