"""The curve of the dashboard: equity, and what was lost since its highest."""

from typing import Any

from reports.build import mark_before
from reports.curves import drawdown_curve
from state.reader import Reader

Rows = list[dict[str, Any]]
_EARLIEST, _LATEST = "", "~"


def equity_points(reader: Reader, most: int) -> Rows:
    """Return at most so many readings, each with its drawdown as reports and limits count it.

    The page cannot work it out from equity: a withdrawal is no loss.
    """
    curve = reader.equity_curve()
    mark = mark_before(reader, curve)
    fallen = drawdown_curve(curve, reader.entries(), _EARLIEST, _LATEST, mark=mark)
    told = [
        {**row, "drawdown_pct": round(float(100 * point.value), 6)}
        for row, point in zip(curve, fallen, strict=True)
    ]
    return thinned(told, most)


def thinned(rows: Rows, points: int) -> Rows:
    """Return at most ``points`` rows, evenly picked, the newest among them."""
    if len(rows) <= points:
        return rows
    step = (len(rows) - 1) / (points - 1)
    return [rows[round(index * step)] for index in range(points)]
