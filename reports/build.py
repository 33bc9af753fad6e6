"""Build the report of a session from what the state has of it.

The two sides of the bridge come from different books: equity and marks from the broker's
account as it was read, executions and cash from our ledger.  That is what makes the
residual worth printing.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.errors import DataError
from domain.money import ZERO, cents, decimal
from marketdata.session_calendar import prices_move_from
from reports import pnl
from reports.attribution import by_strategy
from reports.curves import drawdown_curve, exposure_curves, moment
from reports.doubts import Closing, doubts
from reports.model import (
    EndOfDayReport,
    Point,
    Row,
    Spending,
    StrategyPnl,
    SymbolPnl,
    Tomorrow,
    Yardsticks,
)
from reports.trades import trades, with_slippage
from risk.sizing import ENTRY
from risk.targets import CUT_FOR_SOURCE
from state.reader import Reader

_LONGEST_LIST = 10_000
_CLOSING = "eod"
_BEFORE_THE_REPORT = frozenset({"premarket", "submit", "cutoff"})
_GPU = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    """Both ends of the session, and what moved between them."""

    start: Row
    end: Row
    before: Mapping[str, Row]
    after: Mapping[str, Row]
    entries: Sequence[Row]
    all_entries: Sequence[Row]


def build(
    reader: Reader,
    session_date: dt.date,
    *,
    next_session: Tomorrow | None,
    revision: int,
    yardsticks: Yardsticks | None = None,
    closed: Collection[dt.date] = (),
) -> EndOfDayReport:
    """Read everything about one session and close its bridge.

    ``closed`` are days that turned out to be no session: what moved between their readings is
    told by the session after them, since they have no report of their own.

    Raises:
        DataError: there is nothing to report on, with the sessions that there are.
    """
    yardsticks = yardsticks or Yardsticks()
    curve = reader.equity_curve()
    first, last = _ends(reader, curve, session_date, closed)
    start, end = first["at"], last["at"]
    # Only the session's own: years of holdings at every reading would fill the memory.
    points = reader.position_curve(moment(start), moment(end) + dt.timedelta.resolution)
    books = _books(reader, first, last, points)
    symbols = pnl.by_symbol(books.before, books.after, books.entries)
    bridge = pnl.bridge(books.start, books.end, symbols, books.entries)
    status = reader.status()
    fills, everything = reader.fills(session_date), reader.orders()
    orders = _of_session(everything, fills, session_date)
    signals, forecasts = reader.signals(session_date), reader.forecasts(session_date)
    sent = tuple(row for row in orders if row["state"] != "denied")
    readings = [row for row in curve if start <= row["at"] <= end]
    positions = _position_curves(points, [str(row["at"]) for row in readings])
    equity = tuple(Point(at=moment(row["at"]), value=decimal(row["equity"])) for row in readings)
    posted, late = _fees(books, session_date)
    return EndOfDayReport(
        session_date=session_date,
        revision=revision,
        mode=status["mode"] or "",
        account_tail=str(status.get("account") or "")[-4:],
        tomorrow=next_session,
        bridge=bridge,
        by_symbol=symbols,
        by_strategy=_by_strategy(reader, books, symbols, signals, everything, session_date),
        orders=sent,
        fills=with_slippage(fills, orders),
        trades=trades(orders, fills, signals=signals, forecasts=forecasts, yardsticks=yardsticks),
        denied=tuple(reader.denied(session_date)),
        excluded=tuple(reader.excluded(session_date)),
        signals=tuple(signals),
        forecasts=tuple(forecasts),
        matured=tuple(reader.matured(session_date)),
        sentiment=tuple(reader.sentiment(session_date)),
        runs=_runs(reader, session_date.isoformat()),
        incidents=tuple(reader.incidents_between(start, end, _LONGEST_LIST)),
        activities=_activities(books, bridge.residual),
        costs=tuple(reader.costs(session_date, session_date)),
        spending=_spending(reader, session_date, yardsticks),
        notes=(*_notes(reader, session_date, signals, forecasts), *late),
        doubts=doubts(
            session_date=session_date,
            mode=status["mode"] or "",
            end=books.end,
            held=list(books.after.values()),
            orders=sent,
            fills=fills,
            fees_posted=posted,
            closing=Closing(
                began=_closing_began(reader, session_date.isoformat()),
                next_prices=prices_move_from(next_session.date) if next_session else None,
            ),
        ),
        equity_curve=equity,
        position_curves=positions,
        drawdown_curve=drawdown_curve(
            curve, books.all_entries, start, end, mark=mark_before(reader, curve)
        ),
        exposure_curves=exposure_curves(positions, equity),
        yardsticks=yardsticks,
    )


def _books(reader: Reader, start: Row, end: Row, points: Sequence[Row]) -> _Books:
    entries = reader.entries()
    return _Books(
        start=start,
        end=end,
        before=_at(points, start["at"]),
        after=_at(points, end["at"]),
        entries=pnl.between(entries, start["at"], end["at"]),
        all_entries=entries,
    )


def _ends(
    reader: Reader, curve: Sequence[Row], session_date: dt.date, closed: Collection[dt.date]
) -> tuple[Row, Row]:
    date, untold = session_date.isoformat(), {day.isoformat() for day in closed}
    today = [row for row in curve if row["session_date"] == date]
    if not today:
        known = sorted({str(row["session_date"]) for row in curve})
        there = f"sessions with books: {known[0]} to {known[-1]}" if known else "no session yet"
        raise DataError(f"{date}: nothing to report on; {there}")
    earlier = [row for row in curve if row["session_date"] < date]
    before = [row for row in earlier if row["session_date"] not in untold]
    if before:
        return before[-1], today[-1]
    # The books began in this session, or on closed days before it.
    begun = (earlier or today)[0]
    if any(row["session_date"] < begun["session_date"] for row in reader.reports()):
        raise DataError(
            f"{date}: the readings before it are no longer kept (retention.curve_days); its report"
            f" as it was made lies in reports/{date}"
        )
    return begun, today[-1]


def _at(points: Sequence[Row], at: str) -> dict[str, Row]:
    return {point["symbol"]: point for point in points if point["at"] == at}


def mark_before(reader: Reader, curve: Sequence[Row]) -> Decimal:
    """Return the limits' high-water mark at the first reading: older ones may be gone."""
    known = reader.high_water_mark(str(curve[0]["at"])) if curve else None
    return decimal(known) if known is not None else ZERO


def _of_session(
    orders: Sequence[Row], fills: Sequence[Row], session_date: dt.date
) -> Sequence[Row]:
    """Return a session's orders, and those from outside that were executed in it."""
    date, executed = session_date.isoformat(), {fill["client_order_id"] for fill in fills}
    return [
        order
        for order in orders
        if order["session_date"] == date
        or (order["is_external"] and order["client_order_id"] in executed)
    ]


def _by_strategy(
    reader: Reader,
    books: _Books,
    symbols: Sequence[SymbolPnl],
    signals: Sequence[Row],
    orders: Sequence[Row],
    session_date: dt.date,
) -> tuple[StrategyPnl, ...]:
    date = session_date.isoformat()
    entered_on: dict[str, dt.date] = {}
    for order in orders:
        # What an exit was decided on leans against the position, whoever opened it.
        is_entry = order["leg"] == ENTRY and decimal(order["booked_quantity"]) > 0
        if is_entry and order["session_date"] <= date and not order["is_external"]:
            # Newest session first: the first one seen is the last one before the end.
            entered_on.setdefault(order["symbol"], dt.date.fromisoformat(order["session_date"]))
    signs = {
        one.symbol: pnl.held_sign(
            books.before.get(one.symbol),
            books.after.get(one.symbol),
            [entry for entry in books.entries if entry["symbol"] == one.symbol],
        )
        for one in symbols
    }
    return by_strategy(
        symbols, signs=signs, signals=signals, entered_on=entered_on, signals_of=reader.signals
    )


def _fees(books: _Books, session_date: dt.date) -> tuple[Decimal, list[str]]:
    """Return what was posted for the session, and a note where that was after its report."""
    date = session_date.isoformat()
    dated = [e for e in books.all_entries if e["kind"] == "fee" and e["at"][:10] == date]
    later = [e for e in dated if pnl.moved_at(e) > books.end["at"]]
    late = -sum((decimal(entry["cash"]) for entry in later), ZERO)
    note = f"Fees of {cents(late)} USD for this session were posted later: see the next report."
    return -sum((decimal(entry["cash"]) for entry in dated), ZERO), [note] if later else []


def _activities(books: _Books, residual: Decimal) -> tuple[Row, ...]:
    """What the broker booked besides executions; those as large as the residual are marked."""
    near = [
        entry
        for entry in books.all_entries
        if residual and entry not in books.entries and abs(decimal(entry["cash"])) == abs(residual)
    ]
    shown = [entry for entry in books.entries if entry["kind"] not in pnl.TRADES]
    return tuple(
        {
            "at": entry["at"],
            "kind": entry["kind"],
            "symbol": entry["symbol"],
            "cash": entry["cash"],
            "activity_id": entry["activity_id"],
            "description": entry["description"],
            "may_explain": bool(residual) and abs(decimal(entry["cash"])) == abs(residual),
        }
        for entry in [*shown, *near]
    )


def _spending(
    reader: Reader, session_date: dt.date, yardsticks: Yardsticks
) -> tuple[Spending, ...]:
    month = reader.costs(session_date.replace(day=1), session_date)
    today = [row for row in month if row["at"][:10] == session_date.isoformat()]
    gpu = sum((decimal(row["amount_usd"]) for row in today if row["provider"] == _GPU), ZERO)
    whole = sum((decimal(row["amount_usd"]) for row in month), ZERO)
    return (
        Spending(name="GPU today", spent=gpu, budget=yardsticks.gpu_daily_budget_usd),
        Spending(name="everything this month", spent=whole, budget=yardsticks.monthly_budget_usd),
    )


def _runs(reader: Reader, date: str) -> tuple[Row, ...]:
    rows = [row for row in reader.runs(_LONGEST_LIST) if row["session_date"] == date]
    # The run that writes the report is still running, and the night comes after it: a report
    # that is made again later must not know more.
    done = [row for row in rows if row["kind"] in _BEFORE_THE_REPORT]
    return tuple(sorted(done, key=lambda row: str(row["started_at"])))


def _closing_began(reader: Reader, date: str) -> str | None:
    rows = [row for row in reader.runs(_LONGEST_LIST) if row["session_date"] == date]
    return next((str(row["started_at"]) for row in rows if row["kind"] == _CLOSING), None)


def _notes(
    reader: Reader, session_date: dt.date, signals: Sequence[Row], forecasts: Sequence[Row]
) -> tuple[str, ...]:
    found = [] if reader.sentiment(session_date) else ["No headline was scored for this session."]
    lesser = sorted({str(row["source"]) for row in forecasts} - {"remote"})
    if lesser:
        # Where no remote engine is wanted the local one is as good, and nothing is cut.
        cut = sum(CUT_FOR_SOURCE in row["reason"] for row in signals)
        told = f"; sizes cut for that: {cut}" if cut else ""
        found.append(f"Forecasts came from: {', '.join(lesser)}{told}.")
    return tuple(found)


def _position_curves(points: Sequence[Row], moments: Sequence[str]) -> dict[str, tuple[Point, ...]]:
    """Return what each holding was worth at every reading, 0 where it was not held."""
    read = set(moments)
    inside = [point for point in points if point["at"] in read]
    symbols = sorted({str(point["symbol"]) for point in inside})
    values = {(point["symbol"], point["at"]): pnl.value(point) for point in inside}
    return {
        symbol: tuple(Point(at=moment(at), value=values.get((symbol, at), ZERO)) for at in moments)
        for symbol in symbols
    }
