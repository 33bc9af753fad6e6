"""Plots as SVG, the same bytes for the same points; first those of the end-of-day report."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from reports.model import EndOfDayReport, Point

_SIZE_INCHES = (9.0, 2.8)
LINE = "#2f6feb"
MUTED = "#8b949e"


def equity_svg(report: EndOfDayReport) -> str:
    """Plot broker equity over the session, with the line it started from."""
    figure, axes = canvas("Equity, USD (times in UTC)")
    curve = report.equity_curve
    axes.plot(_times(curve), [float(point.value) for point in curve], color=LINE, linewidth=1.8)
    axes.axhline(float(report.bridge.equity_start), color=MUTED, linewidth=0.9, linestyle="--")
    return drawn(figure, axes)


def positions_svg(report: EndOfDayReport) -> str:
    """Plot the value of each holding over the session."""
    figure, axes = canvas("Position value, USD (times in UTC)")
    curves: Mapping[str, Sequence[Point]] = report.position_curves
    for symbol in sorted(curves):
        values = [float(point.value) for point in curves[symbol]]
        axes.plot(_times(curves[symbol]), values, linewidth=1.6, label=symbol)
    if curves:
        axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=4, labelcolor=MUTED)
    else:
        # An axis of dates needs a date, also where there is nothing to draw.
        axes.plot(_times(report.equity_curve), [0.0] * len(report.equity_curve), alpha=0)
        axes.text(0.5, 0.5, "no position", ha="center", color=MUTED, transform=axes.transAxes)
    return drawn(figure, axes)


def canvas(title: str) -> tuple[Any, Any]:
    """Return an empty figure in the report's style, and its axes."""
    # Without pyplot: it keeps global state and picks a screen.
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, reports only

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=10, color=MUTED)
    return figure, axes


def drawn(figure: Any, axes: Any, *, is_dated: bool = True) -> str:
    """Return a figure as SVG; ``is_dated`` for one with time on its horizontal axis."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.dates import ConciseDateFormatter  # noqa: PLC0415

    formatter: Any = ConciseDateFormatter
    if is_dated:
        axes.xaxis.set_major_formatter(formatter(axes.xaxis.get_major_locator()))
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"bottom", "left"})
        spine.set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(visible=True, color=MUTED, alpha=0.25, linewidth=0.6)
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    out = io.StringIO()
    # Without a fixed salt and date every drawing of the same points would differ.
    with mpl.rc_context({"svg.hashsalt": "openbell", "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _times(curve: Sequence[Point]) -> list[Any]:
    return [point.at for point in curve]
