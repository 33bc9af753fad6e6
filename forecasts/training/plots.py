"""Plots of a training run, as PNG bytes: losses, and whether quantiles keep their promise."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from forecasts.card import ModelCard
from forecasts.training.fitting import Epoch

_SIZE_INCHES = (6.0, 4.0)
_DPI = 100


def loss_plot(title: str, epochs: Sequence[Epoch]) -> bytes:
    """Draw the losses of each epoch beside that of the base distribution."""
    figure, axes = _blank(f"{title}: quantile loss by epoch")
    numbers = list(range(1, len(epochs) + 1))
    axes.plot(numbers, [epoch.training_loss for epoch in epochs], label="training")
    axes.plot(numbers, [epoch.validation_loss for epoch in epochs], label="validation")
    axes.axhline(epochs[0].baseline_loss, linestyle="--", color="gray", label="base distribution")
    axes.set_xlabel("epoch")
    axes.set_ylabel("pinball loss, in units of volatility")
    axes.legend()
    return _png(figure)


def calibration_plot(card: ModelCard) -> bytes:
    """Draw the share of outcomes below each quantile against its level, on unseen outcomes."""
    figure, axes = _blank(f"{card.title}: share of outcomes below each quantile")
    axes.plot([0, 1], [0, 1], linestyle="--", color="gray", label="as promised")
    for step, figures in card.metrics.items():
        shares = [figures[f"share_below_{level:g}"] for level in card.levels]
        axes.plot(card.levels, shares, marker="o", markersize=3, label=f"{step} sessions")
    axes.set_xlabel("level")
    axes.set_ylabel("share of outcomes below")
    axes.legend()
    return _png(figure)


def _blank(title: str) -> tuple[Figure, Axes]:
    # No pyplot: it keeps every figure for ever and chooses a window system.
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the metadata the same data gives the same bytes, whatever the version.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
