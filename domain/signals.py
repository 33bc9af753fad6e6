"""Signals: what a strategy wishes for one symbol, and how news leans."""

import datetime as dt
import math
from dataclasses import dataclass
from enum import StrEnum, unique

from domain.errors import DataError
from domain.ids import Symbol


@unique
class Action(StrEnum):
    """Direction of a wish."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"


@unique
class SentimentLabel(StrEnum):
    """Direction of the news."""

    BULLISH = "BULLISH"
    BEARISH = "BEARISH"
    NEUTRAL = "NEUTRAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentScore:
    """Lean of the news of one symbol: ``score`` in [-1, 1], ``confidence`` in [0, 1]."""

    symbol: Symbol
    score: float
    label: SentimentLabel
    confidence: float
    source: str
    headlines: int
    newest_at: dt.datetime | None
    as_of: dt.datetime

    def __post_init__(self) -> None:
        """Refuse a score outside its bounds: text from outside is behind it."""
        if not (math.isfinite(self.score) and -1 <= self.score <= 1):
            raise DataError(f"{self.symbol}: sentiment score {self.score} is outside [-1, 1]")
        if not (math.isfinite(self.confidence) and 0 <= self.confidence <= 1):
            raise DataError(
                f"{self.symbol}: sentiment confidence {self.confidence} is outside [0, 1]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A strategy's wish: ``strength`` and ``confidence`` in [0, 1].

    ``expected_return`` (simple, fraction) and ``volatility`` are for ``horizon``
    sessions; Kelly sizes on them.  HOLD means: keep what is there.
    """

    symbol: Symbol
    strategy: str
    action: Action
    strength: float
    confidence: float
    expected_return: float
    volatility: float
    horizon: int
    reason: str

    def __post_init__(self) -> None:
        """Refuse a wish that cannot be sized."""
        numbers = (self.strength, self.confidence, self.expected_return, self.volatility)
        if not all(math.isfinite(number) for number in numbers):
            raise DataError(f"{self.symbol}: signal of {self.strategy} is not finite")
        if not (0 <= self.strength <= 1 and 0 <= self.confidence <= 1 and self.volatility >= 0):
            raise DataError(f"{self.symbol}: signal of {self.strategy} is out of range")
