"""Models side by side, from their cards: on the same windows, beside the same baselines.

Nothing is trained or run here; a card holds what was measured when its model was trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.errors import ConfigError
from forecasts.card import ModelCard
from forecasts.scorecard import student

COLUMNS = (
    "mse_return",
    "rmse_return",
    "mae_return",
    "r2_return",
    "mape_price_pct",
    "r2_price",
    "pinball",
    "coverage_of_80_band",
    "accuracy",
    "brier",
)
_BASELINES: Mapping[str, Mapping[str, str]] = {
    "last price": {
        "mae_return": "mae_return_last_price",
        "r2_return": "r2_return_last_price",
        "mape_price_pct": "mape_price_pct_last_price",
        "r2_price": "r2_price_last_price",
    },
    "always up, base rate": {
        "accuracy": "accuracy_always_up",
        "brier": "brier_base_rate",
        "pinball": "pinball_unconditional",
    },
    "last 168 sessions": {"pinball": "pinball_last_168"},
}
_LOWEST_COVERAGE, _HIGHEST_COVERAGE = 0.72, 0.88
_SESSIONS_A_DAY = 252 / 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a comparison; a figure that a baseline does not have is absent."""

    name: str
    parameters: int | None
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Whether a candidate may replace the model in use, and each reason why not."""

    is_allowed: bool
    reasons: tuple[str, ...]


def compare(cards: Sequence[ModelCard], step: int) -> tuple[Row, ...]:
    """Return a row for each model, then one for each baseline.

    Raises:
        ConfigError: the models were measured on different windows, or not at this step.
    """
    _refuse_different_windows(cards, step)
    models = [
        Row(
            name=card.title,
            parameters=card.parameters,
            figures={name: _figures(card, step)[name] for name in COLUMNS},
        )
        for card in cards
    ]
    known = _figures(cards[0], step)
    baselines = [
        Row(
            name=name,
            parameters=None,
            figures={column: known[figure] for column, figure in found.items()},
        )
        for name, found in _BASELINES.items()
    ]
    return (*models, *baselines)


def verdict(cards: Sequence[ModelCard], step: int) -> str:
    """Say in one sentence whether any model beats its baseline at the direction."""
    better = [card.title for card in cards if _has_edge(card, step)]
    if better:
        return f"Right more often than 'it rises' beyond chance: {', '.join(better)}."
    return f"No edge found in the direction {step} sessions ahead."


def promotion(candidate: ModelCard, champion: ModelCard) -> Promotion:
    """Apply the rule: same windows, a smaller loss, an honest band, no worse Brier score.

    The figures compared are those of the longest step that both were measured at.
    """
    step = max(set(map(int, candidate.metrics)) & set(map(int, champion.metrics)), default=0)
    if not step:
        return Promotion(is_allowed=False, reasons=("no step in common",))
    try:
        _refuse_different_windows((candidate, champion), step)
    except ConfigError as exc:
        return Promotion(is_allowed=False, reasons=(str(exc),))
    new, old = _figures(candidate, step), _figures(champion, step)
    reasons: list[str] = []
    if not new["pinball"] < old["pinball"]:
        reasons.append(f"pinball {new['pinball']:.4f} is not below {old['pinball']:.4f}")
    if not _LOWEST_COVERAGE <= new["coverage_of_80_band"] <= _HIGHEST_COVERAGE:
        reasons.append(f"its 80 % band held {new['coverage_of_80_band']:.0%}")
    if not new["brier"] <= old["brier"]:
        reasons.append(f"Brier {new['brier']:.4f} is above {old['brier']:.4f}")
    return Promotion(is_allowed=not reasons, reasons=tuple(reasons))


def _refuse_different_windows(cards: Sequence[ModelCard], step: int) -> None:
    if not cards:
        raise ConfigError("there is no model to compare; run `openbell train`")
    first = cards[0]
    for card in cards:
        if str(step) not in card.metrics:
            known = ", ".join(sorted(card.metrics, key=int))
            raise ConfigError(f"model {card.title} was measured at {known} sessions, not {step}")
        same = (card.data_sha256, card.calibration_span) == (
            first.data_sha256,
            first.calibration_span,
        )
        if not same or _figures(card, step)["samples"] != _figures(first, step)["samples"]:
            raise ConfigError(
                f"models {first.title} and {card.title} were measured on different windows; "
                "train both on the same data and spans"
            )


def _figures(card: ModelCard, step: int) -> Mapping[str, float]:
    return card.metrics[str(step)]


def _has_edge(card: ModelCard, step: int) -> bool:
    figures = _figures(card, step)
    advantage = figures["accuracy"] - figures["accuracy_always_up"]
    # Few spans of the horizon follow each other in what was measured, the second half of the
    # calibration span; so few tell their own error badly.
    first, last = card.calibration_span
    periods = (last - first).days / 2 * _SESSIONS_A_DAY / step
    return advantage > student(max(1.0, periods - 1)) * figures["advantage_error"] > 0
