"""Commands that read the state: they work beside a running daemon and without one."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.command_line import Options
from daemon.commands import arguments
from daemon.commands.output import cell, money, print_json, print_pairs, print_table
from daemon.commands.story import tell
from daemon.config import load, state_directory
from domain.clock import SystemClock
from domain.errors import BadArgument
from state.fact_words import STOPPED
from state.reader import Reader

Row = Mapping[str, Any]

_MOST_LEFT_OUT = 5
_DECIDED = frozenset({"forecasts", "signals"})
# It is written down every ten seconds.
_HEARD_WITHIN = dt.timedelta(minutes=1)

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "orders": {
        "session_date": "session",
        "symbol": "symbol",
        "side": "side",
        "quantity": "quantity",
        "limit_price": "limit",
        "state": "state",
        "filled_quantity": "filled",
        "filled_avg_price": "avg price",
        "client_order_id": "client_order_id",
    },
    "fills": {
        "at": "at",
        "symbol": "symbol",
        "side": "side",
        "quantity": "quantity",
        "price": "price",
        "client_order_id": "client_order_id",
    },
    "positions": {
        "symbol": "symbol",
        "quantity": "quantity",
        "avg_entry_price": "avg entry",
        "market_price": "price",
        "marked_at": "of",
        "market_value": "market value",
        "unrealized_pnl": "unrealized",
    },
    "forecasts": {
        "symbol": "symbol",
        "horizon": "sessions",
        "probability_up": "P(up)",
        "confidence": "confidence",
        "mean": "mean",
        "volatility": "volatility",
        "source": "source",
        "model": "model",
        "data_cutoff": "data until",
    },
    "signals": {
        "symbol": "symbol",
        "action": "action",
        "strength": "strength",
        "confidence": "confidence",
        "expected_return": "expected",
        "kelly_weight": "Kelly weight",
        "target_quantity": "target",
    },
    "runs": {
        "session_date": "session",
        "kind": "kind",
        "state": "state",
        "started_at": "started",
        "reason": "reason",
    },
    "costs": {"at": "at", "provider": "provider", "amount_usd": "USD", "detail": "detail"},
}


def listing(options: Options, name: str, *, date: str | None) -> None:
    """Print one table, or the same rows as JSON."""
    on = arguments.session_date(date)
    with Reader(_directory(options)) as reader:
        rows = _rows(reader, name, on)
    if options.json:
        print_json(rows)
        return
    when = f"on {on}" if on else "yet"
    empty = f"No {name} {when}; `openbell runs` shows what ran."
    # A day may have no decision: then the last one is told, and of when it is.
    title = f"decided by {rows[0]['run_id']}" if rows and name in _DECIDED else ""
    print_table(title, COLUMNS[name], rows, empty=empty)


def _directory(options: Options) -> Path:
    return state_directory(load(options.config))


def _rows(reader: Reader, name: str, on: dt.date | None) -> Sequence[Row]:
    dated: Mapping[str, Callable[[dt.date | None], Sequence[Row]]] = {
        "orders": reader.orders,
        "fills": reader.fills,
        "forecasts": reader.forecasts,
        "signals": reader.signals,
    }
    if name in dated:
        return dated[name](on)
    undated: Mapping[str, Callable[[], Sequence[Row]]] = {
        "positions": reader.positions,
        "runs": reader.runs,
        "costs": reader.costs,
    }
    return undated[name]()


def status(options: Options) -> None:
    """Print the state of everything on one screen."""
    config = load(options.config)
    with Reader(state_directory(config)) as reader:
        document = reader.status()
    if options.json:
        print_json(document)
        return
    # Replayed time tells nothing of how long ago that was.
    now = SystemClock().now() if config.clock.kind == "system" else None
    print_pairs(_status_lines(document, now))


_FORBIDDEN = "forbidden at the broker by the kill, allowed again by the resume"
# Sent by the kill, which writes no books; a daemon that runs reads them from the broker.
_CLOSING = "sent by the kill; open ones count below once a daemon has compared"


def _left_out(excluded: Mapping[str, str]) -> list[tuple[str, Any]]:
    told = [(f"left out: {symbol}", why) for symbol, why in sorted(excluded.items())]
    more = [("left out", f"and {len(told) - _MOST_LEFT_OUT} more; openbell explain SYMBOL")]
    return told[:_MOST_LEFT_OUT] + more * (len(told) > _MOST_LEFT_OUT)


def sign_of_life(status: Row, now: dt.datetime | None) -> str | None:
    """Tell whether a daemon lives: what it wrote last looks the same after it died."""
    at = status["heartbeat_at"]
    if status["session"]["phase"] == STOPPED:
        return STOPPED
    if at is None:
        return None
    if now is not None and not now - dt.datetime.fromisoformat(at) <= _HEARD_WITHIN:
        return (
            f"NOT HEARD OF since {_moment(at)}: it does not run, or it hangs; all below is of then"
        )
    return f"heard of at {_moment(at)}"


def _moment(at: str) -> str:
    return f"{dt.datetime.fromisoformat(at):%Y-%m-%d %H:%M:%S} UTC"


def _status_lines(now: Row, at: dt.datetime | None) -> list[tuple[str, Any]]:
    kill, session, last = now["kill"], now["session"], now["last_run"]
    latch = f"ENGAGED: {kill['reason']} ({kill['at']})" if kill["engaged"] else "armed, not engaged"
    run = (
        "-"
        if not last
        else f"{last['session_date']} {last['kind']} {last['state']} {last['reason'] or ''}"
    )
    breakers = ", ".join(f"{name} {state}" for name, state in sorted(now["breakers"].items()))
    return [
        ("mode", now["mode"]),
        ("daemon", sign_of_life(now, at)),
        ("trading state", _with_reason(now["trading_state"], now["trading_state_reason"])),
        ("kill switch", latch),
        ("lock at the broker", now["broker_lock"]),
        *[("short sales", _FORBIDDEN)] * now["is_shorting_forbidden_by_kill"],
        *[("closing orders", _CLOSING)] * now["are_positions_closed_by_kill"],
        ("session", f"{session['date'] or '-'} {session['phase'] or ''}"),
        ("equity", money(now["equity"])),
        ("read at", _moment(now["equity_at"]) if now["equity_at"] else None),
        ("high-water mark", money(now["high_water_mark"])),
        ("drawdown %", now["drawdown_pct"]),
        ("P&L of the session", f"{money(now['daily_pnl'])} ({cell(now['daily_pnl_pct'])} %)"),
        ("positions", _count(now["positions"])),
        ("open orders", _count(now["open_orders"])),
        ("unknown orders", _count(now["unknown_orders"])),
        ("locked symbols", now["locked_symbols"]),
        *_left_out(now["excluded_symbols"]),
        ("breakers", breakers),
        ("forecast source", now["forecast_source"]),
        *[(f"demoted: {name}", why) for name, why in now["demoted_sources"].items()],
        ("reconciled at", now["reconciled_at"]),
        ("market check", now["market_check"]),
        ("last backup", now["backup_at"]),
        ("last run", run),
    ]


def _with_reason(state: str, reason: str | None) -> str:
    return f"{state}: {reason}" if reason else state


def _count(value: Any) -> Any:
    return len(value) if isinstance(value, list) else value


def explain(options: Options, *, symbol: str, date: str | None) -> None:
    """Retell what was known, wished, checked, sent and filled in one symbol."""
    wanted, on = arguments.symbol(symbol), arguments.session_date(date)
    with Reader(_directory(options)) as reader:
        story = reader.decision(wanted, on)
    if story is None:
        when = f" on {on}" if on else ""
        raise BadArgument(f"{wanted}: not in any decision{when}; `openbell signals` lists what is")
    if options.json:
        print_json(story)
        return
    tell(story)
