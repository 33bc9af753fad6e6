"""What a decision is fed: events explain jumps and keep entries out; what fails is named."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from domain.clock import ManualClock
from domain.errors import BrokerUnavailable, DataError, OpenbellError, ProviderUnavailable
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar, NewsItem, Session
from execution.gathering import Gathered, Sources, gather
from marketdata.crosscheck import CheckRules, CrossCheckedBars
from marketdata.events import CorporateEvent, EventKind
from marketdata.session_calendar import NyseCalendar, trading_date
from marketdata.traded_sessions import TradedSessions
from sentiment.lexicon import LexiconScorer
from tests.support.bars import MadeSource, made_bar, made_series
from tests.support.fake_broker import FakeBroker
from tests.support.virtual_time import loop_clock, virtual

AA, BB = Symbol("AA"), Symbol("BB")
NOW = dt.datetime(2022, 12, 14, 13, 30, tzinfo=dt.UTC)
SESSION: Session = NyseCalendar().next_session(NOW)
FIRST, LAST = dt.date(2022, 8, 1), dt.date(2022, 12, 13)
SPLIT_DAY = dt.date(2022, 12, 7)


class Events:
    def __init__(self, *events: CorporateEvent, failure: OpenbellError | None = None) -> None:
        self.known = events
        self.failure = failure
        self.asked: list[tuple[dt.date, dt.date]] = []

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        self.asked.append((start, end))
        if self.failure is not None:
            raise self.failure
        return self.known


class News:
    name = "double"
    shortfalls = ("rss: no answer within 5 s",)

    async def headlines(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime
    ) -> Sequence[NewsItem]:
        item = NewsItem(
            item_id="1", source="wire", published_at=end, headline="AA upgraded", symbols=(AA,)
        )
        # The port promises nothing of the future; this one breaks its word.
        return [item]


class Silent:
    name = "silent"

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        raise ProviderUnavailable("nobody forecasts")


def event(kind: EventKind, date: dt.date, symbol: Symbol = AA) -> CorporateEvent:
    return CorporateEvent(symbol=symbol, kind=kind, date=date)


async def history_without(day: dt.date, *, having: Symbol | None) -> Gathered:
    """Gather after a day that is called closed, with a bar of it in one symbol or in none."""
    clock = ManualClock(NOW)
    calendar = TradedSessions(NyseCalendar(), clock=clock, closed=[day])
    made = (made_series(symbol, FIRST, LAST) for symbol in (AA, BB))
    series = [[b for b in m if trading_date(b.at) != day or b.symbol == having] for m in made]
    sources = Sources(
        broker=FakeBroker(loop_clock()),
        calendar=calendar,
        closed=lambda: calendar.closed,
        bars=MadeSource(*series),
        news=News(),
        forecaster=Silent(),
        scorer=LexiconScorer(),
    )
    return await gather(
        sources,
        symbols=[AA, BB],
        session=SESSION,
        clock=clock,
        min_history=60,
        news_look_back=dt.timedelta(hours=24),
    )


@virtual
async def test_f06_nobody_waits_for_the_bar_of_a_closed_day() -> None:
    for day in (LAST, LAST - dt.timedelta(days=1), dt.date(2022, 11, 1)):
        gathered = await history_without(day, having=None)
        assert gathered.view.excluded == {}


@virtual
async def test_f07_a_bar_of_a_day_that_is_called_closed_keeps_an_older_close_from_passing() -> None:
    # Found by simulation seed 924: the other symbol may lack the bar because its feed is behind.
    gathered = await history_without(LAST, having=AA)
    why = "bar of 2022-12-13, which the broker's calendar leaves out"
    assert gathered.view.excluded == {AA: why, BB: why}
    assert gathered.view.history == {}

    older = await history_without(LAST - dt.timedelta(days=1), having=AA)
    assert set(older.view.excluded) == {AA}


def halved(date: dt.date) -> list[Bar]:
    """A series that nobody adjusted for a split of two for one."""
    series = made_series(AA, FIRST, LAST, first=100)
    return [
        made_bar(AA, bar.at.date(), bar.close / 2 if bar.at.date() >= date else bar.close)
        for bar in series
    ]


async def gathered(*, ahead: int = 1, **sources: Any) -> Gathered:
    vendor = MadeSource(halved(SPLIT_DAY), made_series(BB, FIRST, LAST))
    fed = Sources(
        broker=sources.pop("broker", None) or FakeBroker(loop_clock()),
        calendar=NyseCalendar(),
        bars=sources.pop("bars", vendor),
        news=News(),
        forecaster=Silent(),
        scorer=LexiconScorer(),
        **sources,
    )
    return await gather(
        fed,
        symbols=[AA, BB],
        session=SESSION,
        clock=ManualClock(NOW),
        min_history=60,
        news_look_back=dt.timedelta(days=1),
        earnings_sessions_ahead=ahead,
    )


@virtual
async def test_a18_empty_list_of_positions_against_the_equity_is_read_again() -> None:
    # Found as seed 410072: on an empty list each holding was bought, or sold short, once more.
    broker = FakeBroker(loop_clock())
    broker.quantities[BB] = Decimal(7)
    broker.read_faults["positions"].extend([[], []])

    found = await gathered(broker=broker)

    assert found.view.positions[BB].quantity == 7


@virtual
async def test_a18_nothing_is_decided_while_the_list_of_positions_stays_empty() -> None:
    broker = FakeBroker(loop_clock())
    broker.quantities[BB] = Decimal(7)
    broker.read_faults["positions"].extend([[]] * 10)

    with pytest.raises(BrokerUnavailable, match="lists no position"):
        await gathered(broker=broker)


@virtual
async def test_g05_a_jump_that_nobody_explains_takes_the_symbol_out() -> None:
    found = await gathered()

    assert "unexplained move" in found.view.excluded[AA]
    assert set(found.view.history) == {BB}


@virtual
async def test_g05_a_split_explains_the_jump_whoever_tells_of_it() -> None:
    split = Events(event(EventKind.SPLIT, SPLIT_DAY))

    for found in (await gathered(actions=split), await gathered(earnings=split)):
        assert found.view.excluded == {}
        assert found.view.reporting == {}
    start, end = split.asked[0]
    assert start <= SPLIT_DAY
    assert end > SESSION.date


@virtual
async def test_a_report_in_this_session_or_the_next_keeps_entries_out() -> None:
    earnings = Events(
        event(EventKind.EARNINGS, dt.date(2022, 12, 15), AA),
        event(EventKind.EARNINGS, dt.date(2022, 12, 16), BB),
    )

    assert (await gathered(earnings=earnings)).view.reporting == {AA: "reports on 2022-12-15"}
    assert set((await gathered(earnings=earnings, ahead=2)).view.reporting) == {AA, BB}
    assert (await gathered(earnings=earnings, ahead=0)).view.reporting == {}


@virtual
async def test_earnings_that_cannot_be_read_keep_every_entry_out_and_the_run_goes_on() -> None:
    found = await gathered(earnings=Events(failure=DataError("events.csv, line 3: no date")))

    assert set(found.view.reporting) == {AA, BB}
    assert "events: events.csv, line 3: no date" in found.shortfalls


@pytest.mark.parametrize("failure", [DataError("unreadable"), ProviderUnavailable("silent")])
@virtual
async def test_a_vendor_without_actions_explains_nothing_and_blocks_nobody(
    failure: OpenbellError,
) -> None:
    found = await gathered(actions=Events(failure=failure))

    assert found.view.reporting == {}
    assert "unexplained move" in found.view.excluded[AA]
    assert f"events: {failure}" in found.shortfalls


@virtual
async def test_headlines_of_the_future_are_dropped_and_late_sources_named() -> None:
    found = await gathered()

    assert found.headlines == ()
    assert found.view.sentiment == {}
    assert "news: rss: no answer within 5 s" in found.shortfalls
    assert "forecasts: nobody forecasts" in found.shortfalls


@virtual
async def test_g08_a_merger_ahead_ends_the_symbol_for_entries() -> None:
    merger = Events(
        event(EventKind.MERGER, dt.date(2022, 12, 20)), event(EventKind.SPLIT, SPLIT_DAY)
    )

    found = await gathered(actions=merger)

    assert found.view.ending == {AA: "merger on 2022-12-20"}
    assert set(found.view.history) == {AA, BB}


@virtual
async def test_g06_what_two_sources_disagree_on_is_excluded_with_the_reason() -> None:
    second = MadeSource(made_series(AA, FIRST, LAST), made_series(BB, FIRST, LAST))
    spike = second.bars[BB][-1]
    second.bars[BB][-1] = dataclasses.replace(spike, high=None, close=spike.close * 10)
    first = MadeSource(made_series(AA, FIRST, LAST), made_series(BB, FIRST, LAST))

    checked = CrossCheckedBars(first, second, rules=CheckRules())
    found = await gathered(bars=checked)

    assert list(found.view.history) == [AA]
    assert found.view.excluded[BB].startswith("quarantined: two sources disagree on 2022-12-13")


@virtual
async def test_a_second_source_that_is_silent_is_named_in_the_decision() -> None:
    first = MadeSource(made_series(AA, FIRST, LAST), made_series(BB, FIRST, LAST))
    second = MadeSource()
    second.is_down = True

    found = await gathered(bars=CrossCheckedBars(first, second, rules=CheckRules()))

    assert set(found.view.history) == {AA, BB}
    assert any(text.startswith("bars: not checked against") for text in found.shortfalls)
