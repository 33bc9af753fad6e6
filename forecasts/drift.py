"""When a model is demoted to its backup, and when it comes back.

The default rule compares the model with its baseline on the same forecasts: an absolute
floor such as 55 % would have demoted every honest model nearly always (docs/forecasts.md).
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum, unique

from forecasts.scorecard import Scores


@unique
class DriftRule(StrEnum):
    """What a model is measured against."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """Bounds of the rule.

    ``bad_checks`` bad checks in a row demote, ``good_checks`` good ones bring back, and
    after either nothing changes for ``cool_down_checks``.
    """

    rule: DriftRule = DriftRule.RELATIVE
    minimum_effective_size: float = 300.0
    lowest_coverage: float = 0.72
    highest_coverage: float = 0.88
    lowest_brier_skill: float = -0.01
    lowest_accuracy: float = 0.55
    bad_checks: int = 3
    good_checks: int = 10
    cool_down_checks: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """What is remembered of a model from check to check."""

    is_demoted: bool = False
    bad: int = 0
    good: int = 0
    cool_down: int = 0
    reason: str = ""


def complaint(scores: Scores | None, settings: DriftSettings) -> str | None:
    """Tell what is wrong with a model, or None; too little evidence is no complaint."""
    if scores is None:
        return None
    if settings.rule is DriftRule.ABSOLUTE:
        if not scores.accuracy >= settings.lowest_accuracy:
            return f"right {scores.accuracy:.1%}, below {settings.lowest_accuracy:.0%}"
        return None
    if not scores.effective_size >= settings.minimum_effective_size:
        return None
    if not scores.advantage_upper_bound >= 0:
        return f"{-scores.advantage:.1%} less often right than its baseline, beyond chance"
    if not settings.lowest_coverage <= scores.coverage_of_80_band <= settings.highest_coverage:
        return f"its 80 % band held {scores.coverage_of_80_band:.0%}"
    if not scores.brier_skill >= settings.lowest_brier_skill:
        return f"Brier skill {scores.brier_skill:.1%} against the base rate"
    return None


def check(state: DriftState, scores: Scores | None, settings: DriftSettings) -> DriftState:
    """Return the state after one more check."""
    reason = complaint(scores, settings)
    counted = dataclasses.replace(
        state,
        bad=state.bad + 1 if reason else 0,
        good=0 if reason else state.good + 1,
        cool_down=max(0, state.cool_down - 1),
    )
    if state.cool_down:
        return counted
    if not state.is_demoted and reason and counted.bad >= settings.bad_checks:
        return DriftState(is_demoted=True, cool_down=settings.cool_down_checks, reason=reason)
    if state.is_demoted and counted.good >= settings.good_checks:
        return DriftState(cool_down=settings.cool_down_checks)
    return counted
