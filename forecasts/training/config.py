"""What a training run is told; every value that changes the result is here."""

import datetime as dt
from dataclasses import dataclass

from domain.errors import ConfigError
from forecasts.calibration import MEDIAN
from forecasts.features import FeatureSet

ENSEMBLE = "lstm-ensemble"
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Where each span starts; it ends where the next one starts.

    Fitting, then early stopping on ``validation``, then conformal calibration; the model
    has seen nothing from ``end`` on.
    """

    start: dt.date = dt.date(1992, 1, 1)
    validation: dt.date = dt.date(2016, 1, 1)
    calibration: dt.date = dt.date(2019, 1, 1)
    end: dt.date = dt.date(2022, 6, 1)

    def __post_init__(self) -> None:
        """Refuse spans that do not follow each other."""
        if not self.start < self.validation < self.calibration < self.end:
            raise ConfigError("training spans must rise: start, validation, calibration, end")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """A training run.

    ``samples_per_epoch_fraction`` is below 1 because neighboring samples share most of
    their outcome; an epoch draws that share anew.  ``members`` is for the ensemble only: as
    many networks, one seed after the other.
    """

    model: str = "lstm"
    spans: Spans = Spans()
    features: FeatureSet = FeatureSet.BARS
    lookback: int = 60
    horizon: int = 40
    levels: tuple[float, ...] = LEVELS
    hidden: int = 64
    layers: int = 2
    dropout: float = 0.2
    batch_size: int = 256
    learning_rate: float = 3e-4
    weight_decay: float = 1e-5
    gradient_clip: float = 1.0
    samples_per_epoch_fraction: float = 0.2
    validation_stride: int = 3
    max_epochs: int = 20
    patience: int = 5
    seed: int = 1
    members: int = 3
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if not (0 < self.samples_per_epoch_fraction <= 1 and self.batch_size > 0):
            raise ConfigError("samples_per_epoch_fraction must be in (0, 1] and batch_size above 0")
        if len(self.levels) % 2 == 0 or self.levels[len(self.levels) // 2] != MEDIAN:
            raise ConfigError("levels must be symmetric around 0.5 and contain it")
