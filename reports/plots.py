"""Plots as SVG, the same bytes for the same points: first those of the reports."""

import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from reports.model import EndOfDayReport, Point, RollUp

_SIZE_INCHES = (7.0, 2.5)
_NEW_YORK = ZoneInfo("America/New_York")
LINE = "#2f6feb"
MUTED = "#8b949e"
_GOOD, _BAD = "#2da44e", "#cf222e"


def day_plots(report: EndOfDayReport) -> tuple[str, ...]:
    """Draw the session: equity, drawdown, exposure and holdings, in New York time."""
    if not report.equity_curve:
        return ()
    return (
        equity_svg(report),
        drawdown_svg(
            _in_session(report, report.drawdown_curve), report.yardsticks.max_drawdown_pct
        ),
        exposure_svg(report),
        positions_svg(report),
    )


def roll_up_plots(roll_up: RollUp) -> tuple[str, ...]:
    """Draw a week or a month: equity at each close, P&L of each session, drawdown."""
    return (
        _closes_svg(roll_up),
        _daily_svg(roll_up),
        _deepest_svg(roll_up),
    )


def equity_svg(report: EndOfDayReport) -> str:
    """Plot broker equity over the session, with the line it started from."""
    figure, axes = canvas("Equity, USD")
    curve = _in_session(report, report.equity_curve)
    axes.plot(_times(curve), _values(curve), color=LINE, linewidth=1.8)
    axes.axhline(float(report.bridge.equity_start), color=MUTED, linewidth=0.9, linestyle="--")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return drawn(figure, axes)


def drawdown_svg(curve: Sequence[Point], limit_pct: Decimal | None) -> str:
    """Plot what is lost since the highest equity, downwards."""
    limit = f", trading halts at {limit_pct.normalize():f} %" if limit_pct is not None else ""
    figure, axes = canvas(f"Drawdown, % below the highest equity{limit}")
    lost = [-100 * value for value in _values(curve)]
    axes.fill_between(_times(curve), lost, 0, color=_BAD, alpha=0.25, linewidth=0)
    axes.plot(_times(curve), lost, color=_BAD, linewidth=1.4)
    axes.set_ylim(top=0, bottom=min([*lost, -0.1]) * 1.15)
    return drawn(figure, axes)


def exposure_svg(report: EndOfDayReport) -> str:
    """Plot gross and net exposure in percent of equity."""
    figure, axes = canvas("Exposure, % of equity")
    for (name, curve), color in zip(
        sorted(report.exposure_curves.items()), (LINE, _GOOD), strict=False
    ):
        inside = _in_session(report, curve)
        style = "-" if name == "gross" else "--"
        values = [100 * value for value in _values(inside)]
        axes.step(
            _times(inside), values, style, where="post", color=color, linewidth=1.6, label=name
        )
    _legend(axes, is_needed=bool(report.exposure_curves))
    return drawn(figure, axes)


def positions_svg(report: EndOfDayReport) -> str:
    """Plot the value of each holding over the session."""
    figure, axes = canvas("Holdings, USD")
    curves: Mapping[str, Sequence[Point]] = report.position_curves
    for symbol in sorted(curves):
        curve = _in_session(report, curves[symbol])
        axes.plot(_times(curve), _values(curve), linewidth=1.6, label=symbol)
    if not curves:
        # An axis of dates needs a date, also where there is nothing to draw.
        inside = _in_session(report, report.equity_curve)
        axes.plot(_times(inside), [0.0] * len(inside), alpha=0)
        axes.text(0.5, 0.5, "no position", ha="center", color=MUTED, transform=axes.transAxes)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _legend(axes, is_needed=bool(curves))
    return drawn(figure, axes)


def _closes_svg(roll_up: RollUp) -> str:
    figure, axes = canvas("Equity at the close, USD")
    closes = [float(day.bridge.equity_end) for day in roll_up.days]
    axes.plot(_dates(roll_up), closes, color=LINE, linewidth=1.8, marker="o", markersize=4)
    axes.axhline(float(roll_up.bridge.equity_start), color=MUTED, linewidth=0.9, linestyle="--")
    return _by_session(figure, axes)


def _daily_svg(roll_up: RollUp) -> str:
    figure, axes = canvas("P&L of each session, USD")
    earned = [float(day.bridge.pnl) for day in roll_up.days]
    colors = [_GOOD if value >= 0 else _BAD for value in earned]
    axes.bar(_dates(roll_up), earned, color=colors, width=0.6)
    axes.axhline(0, color=MUTED, linewidth=0.9)
    return _by_session(figure, axes)


def _deepest_svg(roll_up: RollUp) -> str:
    figure, axes = canvas("Deepest drawdown of each session, %")
    deepest = (max(_values(day.drawdown_curve), default=0.0) for day in roll_up.days)
    axes.bar(_dates(roll_up), [-100 * value for value in deepest], color=_BAD, alpha=0.6, width=0.6)
    axes.axhline(0, color=MUTED, linewidth=0.9)
    return drawn(figure, axes, is_dated=False)


def _dates(roll_up: RollUp) -> list[str]:
    return [f"{day.session_date:%d}".lstrip("0") for day in roll_up.days]


def _by_session(figure: Any, axes: Any) -> str:
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return drawn(figure, axes, is_dated=False)


def _in_session(report: EndOfDayReport, curve: Sequence[Point]) -> Sequence[Point]:
    """Leave out the reading of the evening before: it would squeeze the day into a corner."""
    inside = [p for p in curve if p.at.astimezone(_NEW_YORK).date() == report.session_date]
    return inside or curve


def _legend(axes: Any, *, is_needed: bool) -> None:
    if is_needed:
        axes.legend(loc="best", frameon=False, fontsize=8, ncols=4, labelcolor=MUTED)


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
        axes.xaxis.set_major_formatter(formatter(axes.xaxis.get_major_locator(), show_offset=False))
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
    # Naive: the axis shows New York's wall clock as it is.
    return [point.at.astimezone(_NEW_YORK).replace(tzinfo=None) for point in curve]


def _values(curve: Sequence[Point]) -> list[float]:
    return [float(point.value) for point in curve]
