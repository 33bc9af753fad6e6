"""Train a model on a panel: fit, stop early, calibrate on later data, measure, export.

Retraining with the same panel, configuration, library versions and machine gives the
same weights, bit for bit.
"""

import dataclasses
import datetime as dt
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from forecasts.calibration import calibrate
from forecasts.card import Calibration, ModelCard, Scaler
from forecasts.features import computable
from forecasts.model_files import publish
from forecasts.model_store import SHIPPED
from forecasts.training.baselines import baselines_of
from forecasts.training.config import TrainingConfig
from forecasts.training.dataset import Panel, Samples, build_samples
from forecasts.training.evaluation import figures
from forecasts.training.export import to_onnx, weights_hash
from forecasts.training.fitting import Fit, Progress, fit
from forecasts.training.losses import scaled_targets, shift_and_stretch
from forecasts.training.networks import QuantileNetwork
from forecasts.training.plots import calibration_plot, loss_plot
from forecasts.training.weights import weights_of

Floats = NDArray[np.float64]
_METHOD = "split conformal on |outcome - center| / volatility, center left alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model ready to be published, and the story of its training."""

    card: ModelCard
    onnx: bytes
    weights: bytes
    fit: Fit


def train(
    config: TrainingConfig,
    panel: Panel,
    *,
    version: str,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> TrainedModel:
    """Train one model.

    Args:
        config: everything that changes the result.
        panel: columns of bars by symbol; bars after ``config.spans.end`` are not used.
        version: positive number, as text.
        progress: called after each epoch.
        checkpoint: file that lets an interrupted run go on; see ``fit``.

    Raises:
        ConfigError: the checkpoint is of another configuration or of other bars, or features
            that cannot be computed here.
        DataError: too little data, or training diverged.
    """
    computable(config.features.names, needed_by=f"training {config.model} on {config.features}")
    before = {symbol: panel[symbol].before(config.spans.end) for symbol in sorted(panel)}
    # A company that was listed later has no bar yet, and no part in the model.
    known = {symbol: columns for symbol, columns in before.items() if columns.dates.size}
    samples = build_samples(
        known, lookback=config.lookback, horizon=config.horizon, feature_set=config.features
    )
    spans = config.spans
    training = samples.between(spans.start, spans.validation)
    validation = samples.between(spans.validation, spans.calibration)
    calibration = samples.between(spans.calibration, spans.end)
    fitted = fit(training, validation, config, progress, checkpoint)
    base = fitted.network.base.numpy().astype(np.float64)
    metrics = _held_out_figures(fitted, training, calibration, base, config)
    table = _calibrated(fitted, calibration, base, config)
    fitted.network.base.copy_(torch.from_numpy(table.astype(np.float32)))
    exported = to_onnx(fitted.network, config.lookback)
    card = _card(
        config,
        known,
        fitted.network,
        calibration=_calibration(base, table, calibration.size),
        metrics=metrics,
        exported=exported,
        version=version,
    )
    return TrainedModel(
        card=card, onnx=exported, weights=weights_of(fitted.network, config), fit=fitted
    )


def publish_model(model: TrainedModel, root: Path) -> Path:
    """Write a trained model and its plots into a registry; see ``forecasts.model_files``."""
    plots = {
        "losses.png": loss_plot(model.card.title, model.fit.epochs),
        "calibration.png": calibration_plot(model.card),
    }
    return publish(root, model.card, model.onnx, plots, model.weights)


def next_version(root: Path, name: str) -> str:
    """Return the version after the newest one of a registry."""
    versions = [int(path.name) for path in (root / name).glob("[0-9]*") if path.name.isdigit()]
    return str(max(versions, default=0) + 1)


def new_version(root: Path, name: str) -> str:
    """Return the version after the newest one of a user's registry and the shipped one."""
    return max(next_version(root, name), next_version(SHIPPED, name), key=int)


def data_hash(panel: Panel) -> str:
    """Hash every value of a panel."""
    digest = hashlib.sha256()
    for symbol in sorted(panel):
        columns = panel[symbol]
        digest.update(symbol.encode())
        digest.update(columns.dates.astype("datetime64[D]").astype(np.int64).tobytes())
        for values in (columns.close, columns.high, columns.low, columns.volume):
            digest.update(values.tobytes())
    return digest.hexdigest()


def _calibrated(fitted: Fit, samples: Samples, base: Floats, config: TrainingConfig) -> Floats:
    shift, stretch = shift_and_stretch(fitted.network, samples)
    return calibrate(scaled_targets(samples), shift, stretch, base, config.levels)


def _held_out_figures(
    fitted: Fit, training: Samples, calibration: Samples, base: Floats, config: TrainingConfig
) -> Mapping[str, Mapping[str, float]]:
    # Calibrated on the first half, measured on the second: neither weights nor widths of
    # the measured model have seen what it is measured on.
    days = np.unique(calibration.dates)
    middle = days[days.size // 2]
    first = calibration.where(calibration.matured < middle)
    second = calibration.where(calibration.dates >= middle)
    table = _calibrated(fitted, first, base, config)
    shift, stretch = shift_and_stretch(fitted.network, second)
    return figures(
        second,
        shift[:, :, None] + stretch[:, :, None] * table,
        baselines_of([training, first], config.levels),
        config.levels,
    )


def _card(
    config: TrainingConfig,
    panel: Panel,
    network: QuantileNetwork,
    *,
    calibration: Calibration,
    metrics: Mapping[str, Mapping[str, float]],
    exported: bytes,
    version: str,
) -> ModelCard:
    spans = config.spans
    return ModelCard(
        name=config.model,
        version=version,
        features=config.features.names,
        lookback=config.lookback,
        horizon=config.horizon,
        levels=config.levels,
        scaler=Scaler(mean=_rounded(network.mean), deviation=_rounded(network.deviation)),
        calibration=calibration,
        training_span=(spans.start, _day_before(spans.validation)),
        validation_span=(spans.validation, _day_before(spans.calibration)),
        calibration_span=(spans.calibration, _day_before(spans.end)),
        data_cutoff=max(columns.last_date for columns in panel.values()),
        data_sha256=data_hash(panel),
        symbols=tuple(sorted(panel)),
        metrics=metrics,
        seed=config.seed,
        parameters=network.parameter_count,
        config=_plain(dataclasses.asdict(config)),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
        },
        weights_sha256=weights_hash(exported),
        sha256=hashlib.sha256(exported).hexdigest(),
    )


def _calibration(base: Floats, table: Floats, samples: int) -> Calibration:
    stretch = (table[:, -2] - table[:, 1]) / (base[:, -2] - base[:, 1])
    return Calibration(
        method=_METHOD,
        samples=samples,
        table=tuple(tuple(round(float(value), 6) for value in row) for row in table),
        stretch_of_80_band=tuple(round(float(value), 4) for value in stretch),
    )


def _rounded(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _day_before(date: dt.date) -> dt.date:
    return date - dt.timedelta(days=1)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    spans = {name: str(date) for name, date in config.pop("spans").items()}
    return {**config, "levels": list(config["levels"]), "spans": spans}
