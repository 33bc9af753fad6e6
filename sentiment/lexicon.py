"""The local scorer: finance words with rules for negation, degree and direction.

It needs nothing from outside and answers in microseconds.  It speaks only when the words
are clear; how often it is then right was measured, and is its confidence.
"""

import bisect
import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore
from sentiment.aggregation import Reading, aggregate
from sentiment.cleaning import clean
from sentiment.figures import compared
from sentiment.words import Entry, Kind, WordList, tokens, word_list

# A sum below this is no statement: the headline counts as neutral.
SPEAKS_FROM = 2.0
_REACH = 3  # words that a negation or a degree reaches forward
_NEGATED = -0.7
_QUESTION = 0.5
_STEEPNESS = 8.0
_COMPARED = 2.0
_LOSS = re.compile(r"\bloss", re.IGNORECASE)

# Share of right calls when the sum reached each bound, counted on headlines that had no
# part in choosing the words: `python -m bench.sentiment HEADLINES.csv`.
BOUNDS = (2.0, 3.5, 4.5)
_BULLISH = (0.84, 0.87, 0.93)
_BEARISH = (0.66, 0.93, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    entry: Entry
    start: int
    end: int


def weigh(text: str) -> float:
    """Sum the words of one headline: above 0 is good news, below 0 is bad, 0 is nothing."""
    words = tokens(text)
    listed = word_list()
    hits = list(_hits(words, listed))
    if any(hit.entry.kind is Kind.SILENCE for hit in hits):
        return 0.0
    spent: set[int] = set()
    total = 0.0
    for hit in hits:
        total += _directed(hit, words, listed, spent) * _modifier(hit, hits)
    for hit in hits:
        if hit.entry.kind is Kind.PLAIN and hit.start not in spent:
            total += hit.entry.weight * _modifier(hit, hits)
    return (total + _compared(text)) * (_QUESTION if "?" in text else 1.0)


def _compared(text: str) -> float:
    """Weigh the first figure that stands against an older or expected one."""
    return 0.0 if _LOSS.search(text) else _COMPARED * compared(text)


def read(text: str) -> Reading:
    """Score one cleaned headline."""
    raw = weigh(text)
    if not abs(raw) >= SPEAKS_FROM:
        return Reading(score=0.0, confidence=0.0)
    table = _BULLISH if raw > 0 else _BEARISH
    place = bisect.bisect_right(BOUNDS, abs(raw)) - 1
    return Reading(score=raw / (raw * raw + _STEEPNESS) ** 0.5, confidence=table[place])


class LexiconScorer:
    """A SentimentScorer that never fails and never waits."""

    name = "lexicon"

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score every symbol that the items are tagged with."""
        readings = {item.item_id: _read_item(item) for item in items}
        return aggregate(items, readings, source=self.name, as_of=as_of)


def _read_item(item: NewsItem) -> Reading:
    cleaned = clean(item.headline)
    # Text that hides something is not news: it gets no voice at all.
    return Reading(score=0.0, confidence=0.0) if cleaned.was_altered else read(cleaned.text)


def _hits(words: Sequence[str], listed: WordList) -> Iterator[_Hit]:
    place = 0
    while place < len(words):
        hit = _longest(words, place, listed)
        if hit is None:
            place += 1
            continue
        yield hit
        place = hit.end


def _longest(words: Sequence[str], place: int, listed: WordList) -> _Hit | None:
    for entry in listed.entries.get(words[place], ()):
        end = place + len(entry.words)
        if tuple(words[place:end]) == entry.words:
            return _Hit(entry=entry, start=place, end=end)
    return None


def _directed(hit: _Hit, words: Sequence[str], listed: WordList, spent: set[int]) -> float:
    if hit.entry.kind not in (Kind.RISE, Kind.FALL):
        return 0.0
    value = hit.entry.weight if hit.entry.kind is Kind.RISE else -hit.entry.weight
    burden = _burden(hit, words, listed)
    if burden is None:
        return value
    # The burden is part of this statement; counting the word again would cancel it.
    spent.add(burden)
    return -value


def _burden(hit: _Hit, words: Sequence[str], listed: WordList) -> int | None:
    before = range(max(0, hit.start - _REACH), hit.start)
    after: range = range(0)
    if words[hit.end : hit.end + 1] and words[hit.end] in ("in", "of"):
        after = range(hit.end + 1, min(len(words), hit.end + 1 + _REACH))
    return next((place for place in (*before, *after) if words[place] in listed.burdens), None)


def _modifier(hit: _Hit, hits: Sequence[_Hit]) -> float:
    factor = 1.0
    for other in hits:
        near = 0 <= hit.start - other.end < _REACH
        if other.entry.kind is Kind.NEGATE and near:
            factor *= _NEGATED
        follows = 0 <= other.start - hit.end < _REACH
        if other.entry.kind is Kind.STRENGTHEN and (near or follows):
            factor *= other.entry.weight
    return factor
