import datetime as dt

from domain.ids import Symbol
from marketdata.events import CorporateEvent, EventKind, ending, explained_jumps, reporting_soon
from tests.support.bars import CALENDAR

AA, BB = Symbol("AA"), Symbol("BB")
SESSIONS = CALENDAR.sessions(dt.date(2022, 12, 14), dt.date(2022, 12, 30))


def event(symbol: Symbol, kind: EventKind, day: int) -> CorporateEvent:
    return CorporateEvent(symbol=symbol, kind=kind, date=dt.date(2022, 12, day))


def test_what_changes_a_share_explains_a_jump_and_a_dividend_does_not() -> None:
    events = [
        event(AA, EventKind.SPLIT, 14),
        event(AA, EventKind.SPIN_OFF, 15),
        event(BB, EventKind.DIVIDEND, 14),
        event(BB, EventKind.EARNINGS, 14),
    ]

    assert explained_jumps(events) == {AA: {dt.date(2022, 12, 14), dt.date(2022, 12, 15)}}


def test_earnings_today_or_within_the_span_are_near() -> None:
    events = [
        event(AA, EventKind.EARNINGS, 14),
        event(BB, EventKind.EARNINGS, 16),
        event(BB, EventKind.DIVIDEND, 14),
    ]

    assert list(reporting_soon(events, SESSIONS, sessions_ahead=0)) == [AA]
    assert list(reporting_soon(events, SESSIONS, sessions_ahead=1)) == [AA]
    assert reporting_soon(events, SESSIONS, sessions_ahead=2) == {
        AA: dt.date(2022, 12, 14),
        BB: dt.date(2022, 12, 16),
    }


def test_earnings_that_are_past_are_not_near() -> None:
    assert reporting_soon([event(AA, EventKind.EARNINGS, 13)], SESSIONS, sessions_ahead=5) == {}


def test_a_merger_or_another_name_ends_a_symbol_and_a_split_does_not() -> None:
    events = [
        event(AA, EventKind.MERGER, 20),
        event(AA, EventKind.MERGER, 28),
        event(BB, EventKind.SPLIT, 14),
    ]

    assert ending(events, dt.date(2022, 12, 14)) == {AA: "merger on 2022-12-20"}
    assert ending([event(BB, EventKind.RENAME, 16)], dt.date(2022, 12, 14)) == {
        BB: "rename on 2022-12-16"
    }


def test_a_merger_of_some_days_ago_may_not_have_happened_yet() -> None:
    events = [event(AA, EventKind.MERGER, 5)]

    assert list(ending(events, dt.date(2022, 12, 14))) == [AA]
    assert ending(events, dt.date(2022, 12, 30)) == {}
