"""Curves for the plots: drawdown from the highest equity, and exposure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

from domain.money import ZERO, decimal
from reports.model import Point, Row
from reports.pnl import moved_at


def moment(text: str) -> dt.datetime:
    """Parse a stored moment."""
    return dt.datetime.fromisoformat(text)


def drawdown_curve(
    curve: Sequence[Row], entries: Sequence[Row], start: str, end: str
) -> tuple[Point, ...]:
    """Return the share lost since the highest equity so far, 0 to 1.

    A deposit or withdrawal moves the high-water mark with it, as in the risk limits: money
    that comes or goes is neither gain nor loss.  It does when the broker's figures have the
    money: the transfer is dated at the midnight before.

    Args:
        curve: every reading of equity, oldest first.
        entries: ledger entries; those of transfers are used.
        start: the first moment of the result, as stored.
        end: the last.
    """
    flows = sorted((moved_at(e), decimal(e["cash"])) for e in entries if e["kind"] == "transfer")
    peak, booked, points = ZERO, 0, []
    for row in curve:
        while booked < len(flows) and flows[booked][0] <= row["at"]:
            peak = max(peak + flows[booked][1], ZERO) if peak else peak
            booked += 1
        equity = decimal(row["equity"])
        peak = max(peak, equity)
        if start <= row["at"] <= end:
            lost = (peak - equity) / peak if peak > 0 else ZERO
            points.append(Point(at=moment(row["at"]), value=lost))
    return tuple(points)


def exposure_curves(
    positions: Mapping[str, Sequence[Point]], equity: Sequence[Point]
) -> Mapping[str, tuple[Point, ...]]:
    """Return gross and net exposure as shares of equity, at every reading of equity."""
    values: dict[dt.datetime, list[Decimal]] = {}
    for points in positions.values():
        for point in points:
            values.setdefault(point.at, []).append(point.value)
    gross, net = [], []
    for point in equity:
        held = values.get(point.at, [])
        base = point.value if point.value > 0 else Decimal(1)
        gross.append(Point(at=point.at, value=sum(map(abs, held), ZERO) / base))
        net.append(Point(at=point.at, value=sum(held, ZERO) / base))
    return {"gross": tuple(gross), "net": tuple(net)}
