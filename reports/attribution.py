"""Whose P&L it was: the P&L of a symbol shared out among the strategies behind it.

The book holds one position for a symbol, so a strategy has no fills of its own.  Those
strategies share a symbol's P&L that acted in the direction of the position, or, where none
acted and the position was kept, leaned that way; each in proportion to the return that it
expected per session.  Where the session's own decision has none, as on the day of an exit,
the decision of the symbol's last entry counts; where there is none either, nobody's was it.
All shares together are the P&L of all symbols, to the cent.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from domain.money import ZERO, cents
from reports.model import Row, StrategyPnl, SymbolPnl

NOBODY = "no strategy"
SignalsOf = Callable[[dt.date], Sequence[Row]]


def shares(parts: Iterable[Row], sign: int) -> Mapping[str, Decimal]:
    """Return each strategy's share of a position of this sign; they sum to 1, or are none."""
    wanted: dict[str, Decimal] = {}
    acted = set()
    for part in parts:
        per_session = Decimal(repr(float(part["expected_return"]))) / int(part["horizon"])
        if per_session * sign > 0:
            wanted[part["strategy"]] = abs(per_session)
            if part["action"] != "HOLD":
                acted.add(part["strategy"])
    if acted:
        wanted = {name: weight for name, weight in wanted.items() if name in acted}
    whole = sum(wanted.values(), ZERO)
    return {name: weight / whole for name, weight in sorted(wanted.items())} if whole else {}


def to_the_cent(totals: Mapping[str, Decimal], whole: Decimal) -> Mapping[str, Decimal]:
    """Round each part to the cent; the largest takes what rounding leaves of the whole."""
    rounded = {name: cents(amount) for name, amount in totals.items()}
    if rounded:
        largest = max(sorted(rounded), key=lambda name: abs(rounded[name]))
        rounded[largest] += cents(whole) - sum(rounded.values(), ZERO)
    return rounded


def by_strategy(
    symbols: Sequence[SymbolPnl],
    *,
    signs: Mapping[str, int],
    signals: Sequence[Row],
    entered_on: Mapping[str, dt.date],
    signals_of: SignalsOf,
) -> tuple[StrategyPnl, ...]:
    """Share out the P&L of every symbol.

    Args:
        symbols: the P&L of the session.
        signs: symbol to the direction that was held, +1 or -1.
        signals: combined signals of the session, each with its parts.
        entered_on: symbol to the session of its last executed entry.
        signals_of: reads the signals of an earlier session.
    """
    todays = {row["symbol"]: row["parts"] for row in signals}
    totals: dict[str, Decimal] = defaultdict(lambda: ZERO)
    names: dict[str, set[str]] = defaultdict(set)
    for one in symbols:
        sign = signs.get(one.symbol, 1)
        found = shares(todays.get(one.symbol, ()), sign)
        if not found and one.symbol in entered_on:
            before = signals_of(entered_on[one.symbol])
            parts = next((row["parts"] for row in before if row["symbol"] == one.symbol), ())
            found = shares(parts, sign)
        for name, share in (found or {NOBODY: Decimal(1)}).items():
            totals[name] += one.pnl * share
            names[name].add(one.symbol)
    rounded = to_the_cent(totals, sum((one.pnl for one in symbols), ZERO))
    return tuple(
        StrategyPnl(strategy=name, symbols=tuple(sorted(names[name])), pnl=amount)
        for name, amount in sorted(rounded.items())
    )
