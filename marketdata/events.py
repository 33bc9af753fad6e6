"""Events that move a price for a reason: splits, dividends, mergers, earnings.  Pure.

A split explains a jump; earnings keep entries out.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Protocol

from domain.ids import Symbol
from domain.market import Session


@unique
class EventKind(StrEnum):
    """What happens to the company or its shares."""

    SPLIT = "split"
    DIVIDEND = "dividend"
    SPIN_OFF = "spin_off"
    MERGER = "merger"
    RENAME = "rename"
    EARNINGS = "earnings"


# These change what one share is, so the price may jump without anything being wrong.
_EXPLAIN_JUMPS = frozenset({EventKind.SPLIT, EventKind.SPIN_OFF, EventKind.MERGER})
# After these the symbol is another company's, or nobody's.
_END_A_SYMBOL = frozenset({EventKind.MERGER, EventKind.RENAME})
# Vendors move such dates about; one that lies behind may not have happened yet.
_STILL_NEAR = dt.timedelta(days=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateEvent:
    """One event; ``date`` is the ex-date, or the day of the earnings report."""

    symbol: Symbol
    kind: EventKind
    date: dt.date
    detail: str = ""


class EventSource(Protocol):
    """Where events come from."""

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the events of the dates ``start`` to ``end``, oldest first.

        Raises:
            ProviderUnavailable: the source did not answer.
        """


def explained_jumps(events: Iterable[CorporateEvent]) -> Mapping[Symbol, Collection[dt.date]]:
    """Return the dates on which a jump is no fault, for ``validation.validate``."""
    dates: dict[Symbol, set[dt.date]] = {}
    for event in events:
        if event.kind in _EXPLAIN_JUMPS:
            dates.setdefault(event.symbol, set()).add(event.date)
    return dates


def ending(events: Iterable[CorporateEvent], date: dt.date) -> Mapping[Symbol, str]:
    """Return the symbols that end in a merger or under another name, and why."""
    found: dict[Symbol, str] = {}
    for event in sorted(events, key=lambda one: (one.date, one.symbol)):
        if event.kind in _END_A_SYMBOL and event.date >= date - _STILL_NEAR:
            word = event.kind.value.replace("_", " ")
            found.setdefault(event.symbol, f"{word} on {event.date}")
    return dict(sorted(found.items()))


def reporting_soon(
    events: Iterable[CorporateEvent], sessions: Sequence[Session], *, sessions_ahead: int
) -> Mapping[Symbol, dt.date]:
    """Return the symbols that report earnings within the next sessions, and when.

    Args:
        events: known events; only earnings count.
        sessions: the session to trade first, then the following ones.
        sessions_ahead: how many sessions after the traded one keep entries out; 0 is the
            traded session itself.
    """
    near = {session.date for session in sessions[: sessions_ahead + 1]}
    soon: dict[Symbol, dt.date] = {}
    for event in sorted(events, key=lambda one: (one.date, one.symbol)):
        if event.kind is EventKind.EARNINGS and event.date in near:
            soon.setdefault(event.symbol, event.date)
    return soon
