"""What a planted bug is."""

from dataclasses import dataclass

Change = tuple[str, str, str]
"""File, old text, new text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A bug as replacements of text in files."""

    name: str
    changes: tuple[Change, ...]


def bug(name: str, *changes: Change) -> Bug:
    """Name some changes."""
    return Bug(name=name, changes=changes)
