"""The bounded tilt: the only way news reaches a position.  Pure.

Whatever a scorer says, a weight is multiplied by a number near 1: its sign, the limits
that come after, and the set of symbols stay what they were without news.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from domain.errors import ConfigError
from domain.ids import Symbol
from domain.signals import SentimentScore
from sentiment.aggregation import label_of

NO_TILT = 1.0


def tilt(score: float, confidence: float, max_tilt: float) -> float:
    """Return the multiplier of a long position, in [1 - max_tilt, 1 + max_tilt].

    Args:
        score: lean of the news, in [-1, 1].
        confidence: how often such a call is right, in [0, 1].
        max_tilt: largest change, as a fraction of the weight, in [0, 1).

    Raises:
        ConfigError: ``max_tilt`` is out of range.
    """
    if not 0 <= max_tilt < 1:
        raise ConfigError(f"max_tilt was {max_tilt}; set it from 0 to below 1")
    if not (math.isfinite(score) and math.isfinite(confidence)):
        return NO_TILT
    bounded = min(1.0, max(-1.0, score)) * min(1.0, max(0.0, confidence))
    return 1.0 + max_tilt * bounded


def tilt_of(score: SentimentScore | None, weight: float, max_tilt: float) -> float:
    """Return the multiplier for a signed weight: good news shrinks a short position."""
    if score is None:
        return tilt(0.0, 0.0, max_tilt)
    lean = score.score if weight >= 0 else -score.score
    return tilt(lean, score.confidence, max_tilt)


def tilted(weight: float, score: SentimentScore | None, max_tilt: float) -> float:
    """Return a weight after its news; 0 stays 0 and no sign changes.

    Call it before caps and limits, so that good news cannot lift a weight over them.
    """
    return weight * tilt_of(score, weight, max_tilt)


def damped(
    scores: Mapping[Symbol, SentimentScore], before: Mapping[Symbol, float], *, max_change: float
) -> Mapping[Symbol, SentimentScore]:
    """Return the scores, none further than ``max_change`` from that of the session before.

    A symbol without news then comes from 0, and losing its news is no push: one day of
    planted stories cannot move a symbol all the way.
    """
    return {
        symbol: _damped(score, before.get(symbol, 0.0), max_change)
        for symbol, score in scores.items()
    }


def _damped(score: SentimentScore, before: float, max_change: float) -> SentimentScore:
    start = before if math.isfinite(before) and -1 <= before <= 1 else 0.0
    bounded = min(start + max_change, max(start - max_change, score.score))
    if bounded == score.score:
        return score
    return replace(score, score=bounded, label=label_of(bounded))
