"""Fill the local bar store: group by group, so that a fetch that was cut off goes on."""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from domain.clock import Clock
from domain.errors import DataError, ProviderRefused, ProviderUnavailable
from domain.ids import Symbol
from domain.market import Session
from marketdata.base import BarSource, SessionCalendar
from marketdata.events import EventSource, explained_jumps
from marketdata.session_calendar import last_complete, trading_date
from marketdata.validation import BarRules, validate

_GROUP = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of one symbol; ``problem`` is empty when its bars are fit for use.

    ``gaps`` are sessions between the first and the last bar that have none;
    ``is_unavailable`` tells that the source did not answer.
    """

    symbol: Symbol
    bars: int
    first: dt.date | None
    last: dt.date | None
    gaps: int
    problem: str
    is_unavailable: bool = False


async def fetch(
    source: BarSource,
    symbols: Iterable[Symbol],
    start: dt.date,
    *,
    clock: Clock,
    calendar: SessionCalendar,
    events: EventSource | None = None,
    on_progress: Callable[[Sequence[Fetched]], None] = lambda _: None,
) -> Sequence[Fetched]:
    """Bring the store up to the last complete session, and check what is in it.

    What is stored already is not asked for again, so the same command resumes a fetch
    that was cut off.  A group that fails is reported and the next one tried.

    Args:
        source: a strict ``StoredBars``, or a source whose bars are on this machine anyway.
        symbols: what to fetch.
        start: first date.
        clock: tells which session is the last complete one.
        calendar: sessions of the exchange.
        events: splits and mergers, which explain jumps.
        on_progress: called with the results of each group as it is done.

    Raises:
        ProviderRefused: keys or plan do not open the source; no group could do better.
    """
    wanted = sorted(set(symbols))
    results: list[Fetched] = []
    for place in range(0, len(wanted), _GROUP):
        group = wanted[place : place + _GROUP]
        done = await _group(source, group, start, clock=clock, calendar=calendar, events=events)
        on_progress(done)
        results += done
    return results


async def _group(
    source: BarSource,
    symbols: Sequence[Symbol],
    start: dt.date,
    *,
    clock: Clock,
    calendar: SessionCalendar,
    events: EventSource | None,
) -> Sequence[Fetched]:
    last = last_complete(calendar, clock.now()).date
    try:
        bars = await source.daily_bars(symbols, start, last)
    except ProviderRefused:
        raise
    except ProviderUnavailable as exc:
        return [_unavailable(symbol, str(exc)) for symbol in symbols]
    explained = await _explained(events, symbols, start, last)
    sessions = calendar.sessions(start, last)
    # Every hole counts, not only a recent one: this is what training will read.
    rules = BarRules(look_back=len(sessions), min_history=1)
    results: list[Fetched] = []
    for symbol in symbols:
        series = bars.get(symbol, ())
        # A company younger than the span has no hole before its first bar.
        since = [one for one in sessions if not series or one.close >= series[0].at]
        checked = validate(
            {symbol: series}, since, symbols=[symbol], rules=rules, actions=explained
        )
        days = [trading_date(bar.at) for bar in series]
        results.append(_result(symbol, days, sessions, checked.excluded.get(symbol, "")))
    return results


async def _explained(
    events: EventSource | None, symbols: Sequence[Symbol], start: dt.date, last: dt.date
) -> Mapping[Symbol, Collection[dt.date]]:
    if events is None:
        return {}
    try:
        return explained_jumps(await events.events(symbols, start, last))
    except (ProviderUnavailable, DataError):
        # Without it a jump is reported as one that nobody explains, which is true.
        return {}


def _result(
    symbol: Symbol, days: Sequence[dt.date], sessions: Sequence[Session], problem: str
) -> Fetched:
    if not days:
        return Fetched(symbol=symbol, bars=0, first=None, last=None, gaps=0, problem=problem)
    there = set(days)
    inside = (one.date for one in sessions if days[0] <= one.date <= days[-1])
    return Fetched(
        symbol=symbol,
        bars=len(days),
        first=days[0],
        last=days[-1],
        gaps=sum(date not in there for date in inside),
        problem=problem,
    )


def _unavailable(symbol: Symbol, problem: str) -> Fetched:
    return Fetched(
        symbol=symbol,
        bars=0,
        first=None,
        last=None,
        gaps=0,
        problem=problem,
        is_unavailable=True,
    )
