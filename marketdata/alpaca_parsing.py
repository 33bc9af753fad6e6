"""Alpaca's rows of bars and corporate actions, as its OpenAPI of June 2026 has them."""

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from domain.clock import UTC
from domain.ids import Symbol
from marketdata.events import CorporateEvent, EventKind
from marketdata.rows import Row
from marketdata.session_calendar import day_start, trading_date

_SPLITS = ("forward_splits", "reverse_splits", "unit_splits", "stock_dividends")
_KINDS: Mapping[str, EventKind] = {
    **dict.fromkeys(_SPLITS, EventKind.SPLIT),
    "cash_dividends": EventKind.DIVIDEND,
    "spin_offs": EventKind.SPIN_OFF,
    "cash_mergers": EventKind.MERGER,
    "stock_mergers": EventKind.MERGER,
    "stock_and_cash_mergers": EventKind.MERGER,
    "name_changes": EventKind.RENAME,
}
_SYMBOLS = ("symbol", "old_symbol", "source_symbol", "acquiree_symbol")
_DATES = ("ex_date", "effective_date", "process_date")


def rows_of(value: object) -> Sequence[Mapping[str, Any]]:
    """Return the objects in a list; anything else is no row."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def bar_row(raw: Mapping[str, Any], *, is_daily: bool) -> Row | None:
    """Read one bar; None when it has no moment or no price, so that a hole is left."""
    try:
        return Row(
            at=_session_start(raw["t"]) if is_daily else _moment(raw["t"]),
            open=float(raw["o"]),
            high=float(raw["h"]),
            low=float(raw["l"]),
            close=float(raw["c"]),
            volume=float(raw["v"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


@functools.lru_cache(maxsize=20_000)
def _session_start(stamp: str) -> dt.datetime:
    """Return the left edge of a stamp's session; all symbols share the same few stamps."""
    return day_start(trading_date(_moment(stamp)))


def _moment(stamp: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(stamp)
    if moment.tzinfo is None:
        raise ValueError(f"{stamp!r} has no zone")
    return moment.astimezone(UTC)


def event_of(kind: str, row: Mapping[str, Any]) -> CorporateEvent | None:
    """Read one corporate action; None for a kind we do not know or a row without a date."""
    known = _KINDS.get(kind)
    symbol = next((row[name] for name in _SYMBOLS if row.get(name)), None)
    date = next((row[name] for name in _DATES if row.get(name)), None)
    if known is None or not isinstance(symbol, str) or not isinstance(date, str):
        return None
    try:
        day = dt.date.fromisoformat(date)
    except ValueError:
        return None
    return CorporateEvent(symbol=Symbol(symbol), kind=known, date=day, detail=kind)
