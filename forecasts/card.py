"""The card of a model: what it eats, what it answers, where it comes from, how good it was."""

import datetime as dt
import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domain.errors import StateError

CARD_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Mean and deviation of each feature; part of the exported network already."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the band was calibrated.

    ``table`` has one row per step and one column per level, in units of volatility; it is
    part of the exported network already.  ``stretch_of_80_band`` is the width of the 80 %
    band after calibration over before, per step.
    """

    method: str
    samples: int
    table: tuple[tuple[float, ...], ...]
    stretch_of_80_band: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything that is known of one version of a model.

    ``data_cutoff`` is the last date whose prices the model was fitted or calibrated to;
    a forecast made on or before it is not out of sample.  ``metrics`` maps a step to its
    figures, each model figure beside that of its baseline.
    """

    name: str
    version: str
    features: tuple[str, ...]
    lookback: int
    horizon: int
    levels: tuple[float, ...]
    scaler: Scaler
    calibration: Calibration
    training_span: tuple[dt.date, dt.date]
    validation_span: tuple[dt.date, dt.date]
    calibration_span: tuple[dt.date, dt.date]
    data_cutoff: dt.date
    data_sha256: str
    symbols: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, float]]
    seed: int
    parameters: int
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    weights_sha256: str
    sha256: str

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself."""
        if len(self.calibration.table) != self.horizon:
            raise StateError(f"card of {self.title}: its calibration has not {self.horizon} steps")
        if not (self.lookback > 0 and self.horizon > 0 and len(self.levels) > 1):
            raise StateError(f"card of {self.title}: look-back, horizon or levels are missing")

    @property
    def title(self) -> str:
        """Name and version, as people write them."""
        return f"{self.name}/{self.version}"

    def base_rate(self, horizon: int) -> float:
        """Share of rises over a horizon before the card was made; 1/2 where none was measured.

        Between two measured horizons it is interpolated.
        """
        steps = sorted(map(int, self.metrics))
        if not steps:
            return 1 / 2
        rates = [self.metrics[str(step)]["base_rate"] for step in steps]
        above = bisect_left(steps, horizon)
        if above in (0, len(steps)):
            return rates[min(above, len(steps) - 1)]
        low, high = steps[above - 1], steps[above]
        share = (horizon - low) / (high - low)
        return rates[above - 1] + share * (rates[above] - rates[above - 1])

    def to_json(self) -> str:
        """Return the card as its file holds it."""
        document = {"schema": CARD_SCHEMA, **asdict(self)}
        return json.dumps(document, indent=1, default=str, sort_keys=True) + "\n"


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        StateError: missing, not JSON, another schema, or a field missing or unknown.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("schema") != CARD_SCHEMA:
            raise ValueError("its schema is another one")
        return _card(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StateError(
            f"model card {path} cannot be used ({exc}); run `openbell train` or reinstall"
        ) from exc


def _card(document: dict[str, Any]) -> ModelCard:
    spans = {
        name: tuple(dt.date.fromisoformat(day) for day in document.pop(name))
        for name in ("training_span", "validation_span", "calibration_span")
    }
    scaler = document.pop("scaler")
    calibration = document.pop("calibration")
    metrics = document.pop("metrics")
    return ModelCard(
        **spans,  # type: ignore[arg-type]
        features=tuple(document.pop("features")),
        levels=tuple(float(level) for level in document.pop("levels")),
        symbols=tuple(document.pop("symbols")),
        data_cutoff=dt.date.fromisoformat(document.pop("data_cutoff")),
        scaler=Scaler(mean=tuple(scaler["mean"]), deviation=tuple(scaler["deviation"])),
        calibration=Calibration(
            method=calibration["method"],
            samples=calibration["samples"],
            table=tuple(tuple(row) for row in calibration["table"]),
            stretch_of_80_band=tuple(calibration["stretch_of_80_band"]),
        ),
        metrics={step: metrics[step] for step in sorted(metrics, key=int)},
        **document,
    )
