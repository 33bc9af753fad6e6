"""When a model is demoted to its backup, and when it comes back.

The default rule compares the model with its baseline on the same forecasts: an absolute
floor such as 55 % would have demoted every honest model nearly always (docs/forecasts.md).
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum, unique

from domain.forecasts import ForecastSource
from domain.track_record import Standing
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
    minimum_effective_size: float = 30.0
    lowest_coverage: float = 0.72
    highest_coverage: float = 0.88
    lowest_brier_skill: float = -0.01
    lowest_accuracy: float = 0.55
    bad_checks: int = 3
    good_checks: int = 10
    cool_down_checks: int = 20


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
    chance = scores.critical * scores.coverage_error
    highest, lowest = scores.coverage_of_80_band + chance, scores.coverage_of_80_band - chance
    if not (highest >= settings.lowest_coverage and lowest <= settings.highest_coverage):
        return f"its 80 % band held {scores.coverage_of_80_band:.0%}, beyond chance"
    allowed = -settings.lowest_brier_skill * scores.baseline_brier
    excess = scores.brier - scores.baseline_brier
    if not excess - scores.critical * scores.brier_excess_error <= allowed:
        return f"Brier skill {scores.brier_skill:.1%} against the base rate, beyond chance"
    return None


def check(
    before: Standing | None,
    scores: Scores | None,
    settings: DriftSettings,
    *,
    source: ForecastSource,
    model: str,
) -> Standing:
    """Return where a source stands after one more check; another model starts afresh."""
    fresh = Standing(
        source=source,
        model=model,
        is_demoted=False,
        bad=0,
        good=0,
        cool_down=0,
        reason="",
        complaint="",
    )
    state = before if before is not None and before.model == model else fresh
    found = complaint(scores, settings) or ""
    counted = dataclasses.replace(
        state,
        bad=state.bad + 1 if found else 0,
        good=0 if found else state.good + 1,
        cool_down=max(0, state.cool_down - 1),
        complaint=found,
    )
    if state.cool_down:
        return counted
    if not state.is_demoted and found and counted.bad >= settings.bad_checks:
        return _turned(counted, settings, reason=found)
    if state.is_demoted and counted.good >= settings.good_checks:
        return _turned(counted, settings, reason="")
    return counted


def _turned(state: Standing, settings: DriftSettings, *, reason: str) -> Standing:
    return dataclasses.replace(
        state,
        is_demoted=bool(reason),
        bad=0,
        good=0,
        cool_down=settings.cool_down_checks,
        reason=reason,
    )
