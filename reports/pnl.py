"""P&L by symbol, and the bridge from equity to equity."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from domain.money import ZERO, decimal
from reports.model import Bridge, Row, SymbolPnl

TRADES = frozenset({"fill", "reversal"})
# What a split left, the money for it, and what a late execution changes in the profit of later
# ones, are profit or loss of the symbol as a sale is.
_OF_A_SYMBOL = TRADES | {"split", "fraction", "payout", "restatement"}


def moved_at(entry: Row) -> str:
    """Return when an entry was in the broker's figures.

    An execution counts at once.  Fees, dividends and the like are dated, not timed, and
    posted hours or days later: they are in the account when we first read them.
    """
    if entry["kind"] in TRADES:
        return str(entry["at"])
    return max(str(entry["at"]), str(entry["booked_at"]))


def between(entries: Sequence[Row], start: str, end: str) -> list[Row]:
    """Return the entries that moved the broker's equity after ``start``, up to ``end``."""
    return [entry for entry in entries if start < moved_at(entry) <= end]


def by_symbol(
    before: Mapping[str, Row], after: Mapping[str, Row], entries: Sequence[Row]
) -> tuple[SymbolPnl, ...]:
    """Value after, less value before, less what was put in: no cost basis is needed."""
    put_in: dict[str, Decimal] = defaultdict(lambda: ZERO)
    realized: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in entries:
        if entry["symbol"] and entry["kind"] in _OF_A_SYMBOL:
            put_in[entry["symbol"]] -= decimal(entry["cash"])
            realized[entry["symbol"]] += decimal(entry["realized_pnl"])
    symbols = sorted({*before, *after, *realized})
    return tuple(
        _symbol_pnl(symbol, before.get(symbol), after.get(symbol), put_in[symbol], realized[symbol])
        for symbol in symbols
    )


def _symbol_pnl(
    symbol: str, before: Row | None, after: Row | None, put_in: Decimal, realized: Decimal
) -> SymbolPnl:
    worth = value(after)
    total = worth - value(before) - put_in
    return SymbolPnl(
        symbol=symbol,
        quantity=decimal(after["quantity"]) if after else ZERO,
        value=worth,
        realized_pnl=realized,
        unrealized_pnl_change=total - realized,
    )


def value(point: Row | None) -> Decimal:
    """Return what a holding was worth, 0 where nothing was held or no price was known."""
    if point is None or point["price"] is None:
        return ZERO
    return decimal(point["quantity"]) * decimal(point["price"])


def bridge(start: Row, end: Row, symbols: Sequence[SymbolPnl], entries: Sequence[Row]) -> Bridge:
    """Close the books between two readings of the broker's equity."""

    def cash_of(*kinds: str) -> Decimal:
        return sum((decimal(e["cash"]) for e in entries if e["kind"] in kinds), ZERO)

    return Bridge(
        equity_start=decimal(start["equity"]),
        equity_end=decimal(end["equity"]),
        realized_pnl=sum((one.realized_pnl for one in symbols), ZERO),
        unrealized_pnl_change=sum((one.unrealized_pnl_change for one in symbols), ZERO),
        fees=-cash_of("fee"),
        dividends=cash_of("dividend"),
        interest=cash_of("interest"),
        transfers=cash_of("transfer"),
        other=cash_of("other"),
    )


def held_sign(before: Row | None, after: Row | None, entries: Sequence[Row]) -> int:
    """Return the direction in which a symbol was held: +1 long, -1 short."""
    held = before or after
    if held is not None:
        return 1 if decimal(held["quantity"]) >= 0 else -1
    first = next((e for e in entries if e["kind"] in TRADES), None)
    return -1 if first is not None and decimal(first["quantity"]) < 0 else 1
