"""Fill the local bar store: group by group, so that a fetch that was cut off goes on."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from domain.clock import Clock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from marketdata.base import SessionCalendar
from marketdata.session_calendar import last_complete
from marketdata.stored import StoredBars
from marketdata.validation import BarRules, validate

_GROUP = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of one symbol; ``problem`` is empty when its bars are fit for use."""

    symbol: Symbol
    bars: int
    first: dt.date | None
    last: dt.date | None
    problem: str


async def fetch(
    source: StoredBars,
    symbols: Iterable[Symbol],
    start: dt.date,
    *,
    clock: Clock,
    calendar: SessionCalendar,
    on_progress: Callable[[Sequence[Fetched]], None] = lambda _: None,
) -> Sequence[Fetched]:
    """Bring the store up to the last complete session, and check what is in it.

    What is stored already is not asked for again, so the same command resumes a fetch
    that was cut off.  A group that fails is reported and the next one tried.

    Args:
        source: the store with its upstream.
        symbols: what to fetch.
        start: first date.
        clock: tells which session is the last complete one.
        calendar: sessions of the exchange.
        on_progress: called with the results of each group as it is done.
    """
    wanted = sorted(set(symbols))
    results: list[Fetched] = []
    for place in range(0, len(wanted), _GROUP):
        group = wanted[place : place + _GROUP]
        done = await _group(source, group, start, clock=clock, calendar=calendar)
        on_progress(done)
        results += done
    return results


async def _group(
    source: StoredBars,
    symbols: Sequence[Symbol],
    start: dt.date,
    *,
    clock: Clock,
    calendar: SessionCalendar,
) -> Sequence[Fetched]:
    last = last_complete(calendar, clock.now()).date
    try:
        bars = await source.daily_bars(symbols, start, last)
    except ProviderUnavailable as exc:
        return [_result(symbol, (), str(exc)) for symbol in symbols]
    sessions = calendar.sessions(start, last)
    # Every hole counts, not only a recent one: this is what training will read.
    rules = BarRules(look_back=len(sessions), min_history=1)
    results: list[Fetched] = []
    for symbol in symbols:
        series = bars.get(symbol, ())
        # A company younger than the span has no hole before its first bar.
        since = [one for one in sessions if not series or one.close >= series[0].at]
        checked = validate({symbol: series}, since, symbols=[symbol], rules=rules)
        days = [bar.at.date() for bar in series]
        results.append(_result(symbol, days, checked.excluded.get(symbol, "")))
    return results


def _result(symbol: Symbol, days: Sequence[dt.date], problem: str) -> Fetched:
    return Fetched(
        symbol=symbol,
        bars=len(days),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        problem=problem,
    )
