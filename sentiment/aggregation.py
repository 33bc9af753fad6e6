"""From the readings of headlines to one score per symbol.  Pure."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.errors import DataError
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentLabel, SentimentScore

# A headline about more symbols than this speaks of a list, not of each company in it.
_ABOUT_FEW = 2

# What nobody else says counts by this much: one outlet can be wrong, or be used.
ONE_SOURCE_SHARE = 0.5
_INDEPENDENT_SOURCES = 2

# Below this a symbol's score leans nowhere.
NEUTRAL_BELOW = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a scorer made of one headline; a score of 0 says nothing."""

    score: float
    confidence: float

    def __post_init__(self) -> None:
        """Refuse what no scorer may say."""
        if not (math.isfinite(self.score) and -1 <= self.score <= 1):
            raise DataError(f"headline score {self.score} is outside [-1, 1]")
        if not (math.isfinite(self.confidence) and 0 <= self.confidence <= 1):
            raise DataError(f"headline confidence {self.confidence} is outside [0, 1]")


def aggregate(
    items: Sequence[NewsItem],
    readings: Mapping[str, Reading],
    *,
    source: str,
    as_of: dt.datetime,
) -> Mapping[Symbol, SentimentScore]:
    """Join the readings, by item id, into one score for each tagged symbol.

    Headlines that say nothing are left out; one that is tagged with many symbols counts
    less for each.  One silent voice is always counted in, so a
    single headline moves a symbol half as far as it would like, and several that agree
    move it nearly all the way; headlines that contradict each other cancel, in score and
    in confidence.  What only one source says moves it half as far as when two agree.
    """
    by_symbol: dict[Symbol, list[NewsItem]] = {}
    for item in items:
        for symbol in item.symbols:
            by_symbol.setdefault(symbol, []).append(item)
    return {
        symbol: _joined(symbol, some, readings, source=source, as_of=as_of)
        for symbol, some in sorted(by_symbol.items())
    }


def relevance(item: NewsItem) -> float:
    """Return how much a headline is about each of its symbols, in (0, 1]."""
    return min(1.0, _ABOUT_FEW / max(1, len(item.symbols)))


def label_of(score: float) -> SentimentLabel:
    """Name the direction of a score."""
    if score >= NEUTRAL_BELOW:
        return SentimentLabel.BULLISH
    return SentimentLabel.BEARISH if score <= -NEUTRAL_BELOW else SentimentLabel.NEUTRAL


def _joined(
    symbol: Symbol,
    items: Sequence[NewsItem],
    readings: Mapping[str, Reading],
    *,
    source: str,
    as_of: dt.datetime,
) -> SentimentScore:
    found = [(item, readings[item.item_id]) for item in items if item.item_id in readings]
    speaking = [(relevance(item), reading) for item, reading in found if reading.score]
    total = math.fsum(share * reading.score for share, reading in speaking)
    weight = math.fsum(share * abs(reading.score) for share, reading in speaking)
    agreement = abs(total) / weight if weight else 0.0
    voices = math.fsum(share for share, _ in speaking)
    mean = math.fsum(share * r.confidence for share, r in speaking) / voices if voices else 0.0
    score = total / (voices + 1)
    if len(_sources_of(found, total)) < _INDEPENDENT_SOURCES:
        score *= ONE_SOURCE_SHARE
    return SentimentScore(
        symbol=symbol,
        score=score,
        label=label_of(score),
        confidence=min(1.0, mean * min(1.0, agreement)),
        source=source,
        headlines=len(items),
        newest_at=max(item.published_at for item in items),
        as_of=as_of,
    )


def _sources_of(found: Sequence[tuple[NewsItem, Reading]], total: float) -> set[str]:
    """Return who says what the sum says."""
    return {item.source.casefold() for item, reading in found if reading.score * total > 0}
