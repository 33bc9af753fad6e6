"""Headlines with known answers, asked of a remote model before it is believed.

They find a model that was swapped, broken or talked into something, and the share it gets
right is its confidence: a model's own word for how sure it is has never been measured.
"""

import functools
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass

from domain.signals import SentimentLabel
from sentiment.aggregation import label_of

PASSES_FROM = 0.7
# Between "says nothing" and "says something", as a fraction of the whole scale.
_NEUTRAL_WITHIN = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A headline and what it says."""

    headline: str
    label: SentimentLabel


@functools.cache
def canaries() -> tuple[Canary, ...]:
    """Read the set that ships with the package."""
    text = importlib.resources.files("sentiment").joinpath("data", "canaries.txt")
    lines = (line.split("\t") for line in text.read_text("utf-8").splitlines() if line[:1] != "#")
    return tuple(
        Canary(headline=headline, label=SentimentLabel(label.upper())) for label, headline in lines
    )


def share_right(scores: Sequence[float]) -> float:
    """Return how many canaries were called right, one counted each way so none is certain.

    Args:
        scores: one for each canary, in their order.
    """
    right = sum(
        _said(score) is canary.label for score, canary in zip(scores, canaries(), strict=True)
    )
    return (right + 1) / (len(scores) + 2)


def _said(score: float) -> SentimentLabel:
    return label_of(score) if abs(score) >= _NEUTRAL_WITHIN else SentimentLabel.NEUTRAL
