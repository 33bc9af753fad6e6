"""The word list of the lexicon scorer: reading it, and cutting headlines into words."""

import functools
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique

from domain.errors import DataError

NUMBER = "#"
_FILE = "lexicon.txt"
_LINK = re.compile(r"(?:https?://|pic\.twitter\.com/)\S*")
_TAG = re.compile(r"[$#@][A-Za-z_][\w.]*")
# The dash of a range is no sign: "sales up 2-3%".
_SIGN = r"(?:(?<![\w%])[+-])?"
_TOKEN = re.compile(
    rf"(?P<percent>{_SIGN}(?:\d[\d.,]*%?-)?\d[\d.,]*\s?%)|(?P<number>[$€£]?{_SIGN}\d[\d.,]*)"
    r"|(?P<word>[^\W\d_][\w'&-]*)"
)
_QUARTER = re.compile(r"q[1-4]")


@unique
class Kind(StrEnum):
    """What an entry of the list does."""

    PLAIN = "plain"
    RISE = "rise"
    FALL = "fall"
    NEGATE = "negate"
    STRENGTHEN = "strengthen"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: its words, what it does, and its weight."""

    words: tuple[str, ...]
    kind: Kind
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WordList:
    """All entries by first word, longest first, and the words of burden."""

    entries: Mapping[str, tuple[Entry, ...]]
    burdens: frozenset[str]


def tokens(text: str) -> list[str]:
    """Cut a headline into lower-case words; figures become ``#``, ``%``, ``+%`` or ``-%``."""
    bare = _TAG.sub(" ", _LINK.sub(" ", text)).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [_token(match) for match in _TOKEN.finditer(bare)]


def _token(match: re.Match[str]) -> str:
    if match["percent"]:
        sign = match["percent"][0]
        return f"{sign}%" if sign in "+-" else "%"
    if match["number"]:
        return NUMBER
    word = match["word"].lower().removesuffix("'s")
    return "q#" if _QUARTER.fullmatch(word) else word


@functools.cache
def word_list() -> WordList:
    """Read the list that ships with the package, once per process.

    Raises:
        DataError: a line of it cannot be understood.
    """
    text = importlib.resources.files("sentiment").joinpath("data", _FILE).read_text("utf-8")
    found: dict[str, list[Entry]] = {}
    burdens: set[str] = set()
    for section, line in _lines(text):
        if section == "burden":
            burdens.add(line)
            continue
        entry = _entry(section, line)
        found.setdefault(entry.words[0], []).append(entry)
    ordered = {
        first: tuple(sorted(some, key=lambda entry: -len(entry.words)))
        for first, some in found.items()
    }
    return WordList(entries=ordered, burdens=frozenset(burdens))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for raw in text.splitlines():
        # A number placeholder is "#" too, but only a comment starts with it.
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        yield section, line


def _entry(section: str, line: str) -> Entry:
    try:
        kind = Kind(section)
        if kind in (Kind.NEGATE, Kind.SILENCE):
            return Entry(words=tuple(line.split()), kind=kind, weight=0.0)
        weight, *words = line.split()
        if not words:
            raise ValueError("no words")
        return Entry(words=tuple(words), kind=kind, weight=float(weight))
    except ValueError as exc:
        raise DataError(f"{_FILE}: line {line!r} is not understood; reinstall openbell") from exc
