"""Build the report of a session from what the state has of it.

The two sides of the bridge come from different books: equity and marks from the broker's
account as it was read, executions and cash from our ledger.  That is what makes the
residual worth printing.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from domain.errors import DataError
from domain.money import ZERO, decimal
from reports.model import Bridge, EndOfDayReport, Point, Row, SymbolPnl
from state.reader import Reader

_BPS = Decimal(10_000)
_LONGEST_LIST = 10_000
_BEFORE_THE_REPORT = frozenset({"premarket", "submit", "cutoff"})


def build(
    reader: Reader, session_date: dt.date, *, next_session: dt.date | None, revision: int
) -> EndOfDayReport:
    """Read everything about one session and close its bridge.

    Raises:
        DataError: there is nothing to report on, with the sessions that there are.
    """
    curve = reader.equity_curve()
    start, end = _ends(curve, session_date)
    points = reader.position_curve()
    entries = _between(reader.entries(), start["at"], end["at"])
    by_symbol = _by_symbol(_at(points, start["at"]), _at(points, end["at"]), entries)
    status = reader.status()
    date = session_date.isoformat()
    return EndOfDayReport(
        session_date=session_date,
        revision=revision,
        mode=status["mode"] or "",
        account_tail=str(status.get("account") or "")[-4:],
        next_session=next_session,
        bridge=_bridge(start, end, by_symbol, entries),
        by_symbol=by_symbol,
        orders=tuple(row for row in reader.orders(session_date) if row["state"] != "denied"),
        fills=_with_slippage(reader.fills(session_date), reader.orders(session_date)),
        denied=tuple(reader.denied(session_date)),
        signals=tuple(reader.signals(session_date)),
        forecasts=tuple(reader.forecasts(session_date)),
        sentiment=tuple(reader.sentiment(session_date)),
        runs=_runs(reader, date),
        incidents=_incidents(reader, start["at"], end["at"]),
        costs=tuple(reader.costs(session_date, session_date)),
        notes=_notes(reader, session_date),
        equity_curve=tuple(
            Point(at=_moment(row["at"]), value=decimal(row["equity"]))
            for row in curve
            if start["at"] <= row["at"] <= end["at"]
        ),
        position_curves=_position_curves(points, start["at"], end["at"]),
    )


def _ends(curve: Sequence[Row], session_date: dt.date) -> tuple[Row, Row]:
    date = session_date.isoformat()
    today = [row for row in curve if row["session_date"] == date]
    if not today:
        known = sorted({str(row["session_date"]) for row in curve})
        there = f"sessions with books: {known[0]} to {known[-1]}" if known else "no session yet"
        raise DataError(f"{date}: nothing to report on; {there}")
    before = [row for row in curve if row["session_date"] < date]
    return (before[-1] if before else today[0]), today[-1]


def _between(entries: Sequence[Row], start: str, end: str) -> list[Row]:
    return [entry for entry in entries if start < entry["at"] <= end]


def _at(points: Sequence[Row], at: str) -> dict[str, Row]:
    return {point["symbol"]: point for point in points if point["at"] == at}


def _by_symbol(
    before: Mapping[str, Row], after: Mapping[str, Row], entries: Sequence[Row]
) -> tuple[SymbolPnl, ...]:
    """Value after, less value before, less what was put in: no cost basis is needed."""
    put_in: dict[str, Decimal] = defaultdict(lambda: ZERO)
    realized: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in entries:
        if entry["symbol"] and entry["kind"] in _TRADES:
            put_in[entry["symbol"]] -= decimal(entry["cash"])
            realized[entry["symbol"]] += decimal(entry["realized_pnl"])
    symbols = sorted({*before, *after, *put_in})
    return tuple(
        _symbol_pnl(symbol, before.get(symbol), after.get(symbol), put_in[symbol], realized[symbol])
        for symbol in symbols
    )


_TRADES = frozenset({"fill", "reversal"})


def _symbol_pnl(
    symbol: str, before: Row | None, after: Row | None, put_in: Decimal, realized: Decimal
) -> SymbolPnl:
    value = _value(after)
    total = value - _value(before) - put_in
    return SymbolPnl(
        symbol=symbol,
        quantity=decimal(after["quantity"]) if after else ZERO,
        value=value,
        realized_pnl=realized,
        unrealized_pnl_change=total - realized,
    )


def _value(point: Row | None) -> Decimal:
    if point is None or point["price"] is None:
        return ZERO
    return decimal(point["quantity"]) * decimal(point["price"])


def _bridge(start: Row, end: Row, by_symbol: Sequence[SymbolPnl], entries: Sequence[Row]) -> Bridge:
    def cash_of(*kinds: str) -> Decimal:
        return sum((decimal(e["cash"]) for e in entries if e["kind"] in kinds), ZERO)

    return Bridge(
        equity_start=decimal(start["equity"]),
        equity_end=decimal(end["equity"]),
        realized_pnl=sum((one.realized_pnl for one in by_symbol), ZERO),
        unrealized_pnl_change=sum((one.unrealized_pnl_change for one in by_symbol), ZERO),
        fees=-cash_of("fee"),
        dividends=cash_of("dividend"),
        interest=cash_of("interest"),
        transfers=cash_of("transfer"),
        other=cash_of("other", "split"),
    )


def _with_slippage(fills: Sequence[Row], orders: Sequence[Row]) -> tuple[Row, ...]:
    by_id = {order["client_order_id"]: order for order in orders}
    return tuple({**fill, **_slippage(fill, by_id.get(fill["client_order_id"]))} for fill in fills)


def _slippage(fill: Row, order: Row | None) -> Row:
    """Signed cost against the decision price in bps: above 0 is worse than decided on."""
    if order is None or not decimal(order["decision_price"] or "0") > 0:
        return {"decision_price": None, "slippage_bps": None}
    decided = decimal(order["decision_price"])
    sign = 1 if fill["side"] == "buy" else -1
    bps = sign * (decimal(fill["price"]) / decided - 1) * _BPS
    return {"decision_price": order["decision_price"], "slippage_bps": f"{bps:.1f}"}


def _runs(reader: Reader, date: str) -> tuple[Row, ...]:
    rows = [row for row in reader.runs(_LONGEST_LIST) if row["session_date"] == date]
    # The run that writes the report is still running, and the night comes after it: a report
    # that is made again later must not know more.
    done = [row for row in rows if row["kind"] in _BEFORE_THE_REPORT]
    return tuple(sorted(done, key=lambda row: str(row["started_at"])))


def _incidents(reader: Reader, start: str, end: str) -> tuple[Row, ...]:
    rows = [row for row in reader.incidents(_LONGEST_LIST) if start <= row["at"] <= end]
    return tuple(sorted(rows, key=lambda row: int(row["id"])))


def _notes(reader: Reader, session_date: dt.date) -> tuple[str, ...]:
    found = [] if reader.sentiment(session_date) else ["No headline was scored for this session."]
    degraded = sorted({str(row["source"]) for row in reader.forecasts(session_date)} - {"remote"})
    if degraded:
        found.append(f"Forecasts came from: {', '.join(degraded)}; their sizes are cut.")
    return tuple(found)


def _position_curves(points: Sequence[Row], start: str, end: str) -> dict[str, tuple[Point, ...]]:
    inside = [point for point in points if start <= point["at"] <= end]
    moments = sorted({str(point["at"]) for point in inside})
    symbols = sorted({str(point["symbol"]) for point in inside})
    values = {(point["symbol"], point["at"]): _value(point) for point in inside}
    return {
        symbol: tuple(Point(at=_moment(at), value=values.get((symbol, at), ZERO)) for at in moments)
        for symbol in symbols
    }


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
