"""Curves for the plots: drawdown from the highest equity, and exposure."""

import datetime as dt
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from domain.money import ZERO, decimal
from reports.model import Point, Row
from reports.pnl import moved_at


def moment(text: str) -> dt.datetime:
    """Parse a stored moment."""
    return dt.datetime.fromisoformat(text)


def drawdown_curve(
    curve: Sequence[Row], entries: Sequence[Row], start: str, end: str, *, mark: Decimal = ZERO
) -> tuple[Point, ...]:
    """Return the share lost since the highest equity so far, 0 to 1.

    A deposit or withdrawal moves the high-water mark with it, as in the risk limits: money
    that comes or goes is neither gain nor loss.  It does when the broker's figures have the
    money, whenever the transfer is dated or posted.

    Args:
        curve: every reading of equity, oldest first.
        entries: ledger entries; those of transfers move the mark, all of them tell the cash.
        start: the first moment of the result, as stored.
        end: the last.
        mark: the highest equity before the first reading, 0 where there was none.
    """
    flows = flows_in_figures(curve, entries)
    peak, points = mark, []
    for place, row in enumerate(curve):
        if peak and place in flows:
            peak = max(peak + flows[place], ZERO)
        equity = decimal(row["equity"])
        peak = max(peak, equity)
        if start <= row["at"] <= end:
            lost = (peak - equity) / peak if peak > 0 else ZERO
            points.append(Point(at=moment(row["at"]), value=lost))
    return tuple(points)


def flows_in_figures(curve: Sequence[Row], entries: Sequence[Row]) -> Mapping[int, Decimal]:
    """Return deposits less withdrawals by the place of the first reading that has them.

    The broker may post a transfer hours after its cash has moved: then the cash says since when.
    """
    if not curve:
        return {}
    readings = [str(row["at"]) for row in curve]
    posted: dict[int, list[Decimal]] = defaultdict(list)
    for entry in entries:
        # What was posted before the first reading is in the mark that it begins with.
        if entry["kind"] == "transfer" and moved_at(entry) > readings[0]:
            posted[bisect_left(readings, moved_at(entry))].append(decimal(entry["cash"]))
    unbooked = _unbooked_cash(curve, entries) if posted else []
    flows: dict[int, Decimal] = defaultdict(lambda: ZERO)
    for place, amounts in posted.items():
        if place < len(readings):
            for first, amount in zip(
                _first_readings(amounts, place, unbooked), amounts, strict=True
            ):
                flows[first] += amount
    return flows


def _unbooked_cash(curve: Sequence[Row], entries: Sequence[Row]) -> list[Decimal]:
    """Return the broker's cash less the books at each reading, but for what they began with."""
    moves = sorted((moved_at(entry), decimal(entry["cash"])) for entry in entries)
    booked, number, found = ZERO, 0, []
    for row in curve:
        while number < len(moves) and moves[number][0] <= row["at"]:
            booked += moves[number][1]
            number += 1
        found.append(decimal(row["cash"]) - booked)
    return found


def _first_readings(
    amounts: Sequence[Decimal], place: int, unbooked: Sequence[Decimal]
) -> list[int]:
    """Return of each amount posted before a reading the first that had it: in their order."""
    firsts, there = [place] * len(amounts), len(amounts)
    for reading in range(place - 1, -1, -1):
        extra = unbooked[reading] - unbooked[place]
        known = (count for count in range(there, 0, -1) if _is_made_of(extra, amounts[:count]))
        there = next(known, 0)
        if not there:
            break
        firsts[:there] = [reading] * there
    return firsts


def _is_made_of(extra: Decimal, amounts: Sequence[Decimal]) -> bool:
    # A fee may wait to be posted too.  What differs by more is something else: an execution of
    # the moments between the broker's answer and the reading's stamp.
    whole = sum(amounts, ZERO)
    return abs(extra - whole) < abs(whole) / 100


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
