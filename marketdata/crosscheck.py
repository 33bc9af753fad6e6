"""Two sources compared: where they disagree, nobody knows the price.

One of them decides, the other only vetoes: a symbol on which they differ sits out.
"""

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from domain.errors import DataError, ProviderUnavailable, first_cause
from domain.ids import Symbol
from domain.market import Bar
from marketdata.base import BarSource
from marketdata.session_calendar import trading_date

_MOST_NAMED = 5

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRules:
    """How much two sources may differ.

    Closes of two vendors differ by a tick or by whose last trade counts; returns are
    compared too, because a series adjusted for dividends and one that is not agree in
    them but not in level.
    """

    look_back: int = 5
    max_return_difference: float = 0.01


def disagreements(
    first: Mapping[Symbol, Sequence[Bar]],
    second: Mapping[Symbol, Sequence[Bar]],
    rules: CheckRules,
) -> Mapping[Symbol, str]:
    """Return why two sources cannot both be right, by symbol; what one lacks is not judged."""
    found: dict[Symbol, str] = {}
    for symbol in sorted(set(first) & set(second)):
        ours, theirs = _returns(first[symbol]), _returns(second[symbol])
        for span in sorted(set(ours) & set(theirs))[-rules.look_back :]:
            one, two = ours[span], theirs[span]
            if not abs(one - two) <= rules.max_return_difference:
                found[symbol] = (
                    f"quarantined: two sources disagree on {span[0]}: {one:+.2%} and {two:+.2%}"
                )
                break
    return found


def unchecked(
    first: Mapping[Symbol, Sequence[Bar]], second: Mapping[Symbol, Sequence[Bar]]
) -> tuple[Symbol, ...]:
    """Return the symbols whose newest move the second source does not have."""
    return tuple(
        symbol
        for symbol in sorted(first)
        if len(first[symbol]) > 1
        and _returns(first[symbol][-2:]).keys().isdisjoint(_returns(second.get(symbol, ())))
    )


class CrossCheckedBars:
    """A BarSource that withholds the symbols on which a second source disagrees.

    ``quarantined`` says why.  Where the second source is silent, or has nothing of the last
    session, the first stands alone and ``shortfalls`` says so: the check adds doubt, it does
    not replace validation.
    """

    def __init__(self, first: BarSource, second: BarSource, *, rules: CheckRules) -> None:
        self._first = first
        self._second = second
        self._rules = rules
        self.name = first.name
        self.quarantined: Mapping[Symbol, str] = {}
        self.shortfalls: tuple[str, ...] = ()

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        """Return the bars of the first source without the symbols in doubt.

        Raises:
            ProviderUnavailable: the first source did not answer.
        """
        wanted = sorted(set(symbols))
        self.shortfalls = ()
        # Twice the days, and some: enough sessions around holidays.
        recent = max(start, end - dt.timedelta(days=2 * self._rules.look_back + 7))
        try:
            async with asyncio.TaskGroup() as group:
                ours = group.create_task(self._ask(wanted, start, end))
                theirs = group.create_task(self._veto(wanted, recent, end))
        except BaseExceptionGroup as failures:
            raise first_cause(failures) from failures
        bars, others = ours.result(), theirs.result()
        if others is not None and (alone := unchecked(bars, others)):
            self._tell(f"it has nothing of the last session of {_listed(alone)}")
        self.shortfalls += tuple(getattr(self._first, "shortfalls", ()))
        self.quarantined = disagreements(bars, others or {}, self._rules)
        for symbol, reason in self.quarantined.items():
            _LOG.warning("bars.quarantined", symbol=symbol, reason=reason)
        return {symbol: one for symbol, one in bars.items() if symbol not in self.quarantined}

    async def _ask(
        self, symbols: Sequence[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        return await self._first.daily_bars(symbols, start, end)

    async def _veto(
        self, symbols: Sequence[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]] | None:
        try:
            return await self._second.daily_bars(symbols, start, end)
        except (ProviderUnavailable, DataError) as exc:
            self._tell(str(exc))
            return None

    def _tell(self, reason: str) -> None:
        self.shortfalls = (f"not checked against {self._second.name}: {reason}",)
        _LOG.warning("bars.not_checked", source=self._second.name, reason=reason)


def _listed(symbols: Sequence[Symbol]) -> str:
    more = len(symbols) - _MOST_NAMED
    return ", ".join(symbols[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _returns(bars: Sequence[Bar]) -> Mapping[tuple[dt.date, dt.date], float]:
    """Return the moves by (last day, first day): a hole in one source makes other spans."""
    return {
        (trading_date(two.at), trading_date(one.at)): two.close / one.close - 1
        for one, two in itertools.pairwise(bars)
    }
