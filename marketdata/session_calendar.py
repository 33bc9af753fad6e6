"""Sessions of the New York Stock Exchange; the only place that knows New York time.

Everything that leaves this module is UTC, except what ``new_york`` returns for a
person to read.  Importing it is cheap: the calendar package is loaded when the first
session is asked for.
"""

import bisect
import datetime as dt
import warnings
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from domain.clock import UTC
from domain.errors import DataError
from domain.market import Session
from marketdata.base import SessionCalendar

NEW_YORK = ZoneInfo("America/New_York")
_FIRST_TRADES = dt.time(4)
FIRST_DATE = dt.date(1990, 1, 1)
# A fixed end, not "a year from today": two runs of one replay must see the same calendar.
LAST_DATE = dt.date(2035, 12, 31)


def new_york(moment: dt.datetime) -> dt.datetime:
    """Return ``moment`` as New York time, for display."""
    return moment.astimezone(NEW_YORK)


def trading_date(moment: dt.datetime) -> dt.date:
    """Return the New York date of ``moment``."""
    return moment.astimezone(NEW_YORK).date()


def day_start(date: dt.date) -> dt.datetime:
    """Return midnight in New York as UTC: the left edge of a daily bar."""
    return dt.datetime.combine(date, dt.time(), tzinfo=NEW_YORK).astimezone(UTC)


def prices_move_from(date: dt.date) -> dt.datetime:
    """Return when the prices of a session's day begin to move: hours before its open."""
    return dt.datetime.combine(date, _FIRST_TRADES, tzinfo=NEW_YORK).astimezone(UTC)


def priced_session(calendar: SessionCalendar, moment: dt.datetime) -> Session:
    """Return the session that prices read at ``moment`` belong to: its own until the next moves."""
    coming = calendar.next_session(moment)
    if prices_move_from(coming.date) <= moment:
        return coming
    return calendar.previous_session(coming.date)


def last_complete(calendar: SessionCalendar, moment: dt.datetime) -> Session:
    """Return the last session that is over at ``moment``."""
    today = calendar.session_on(trading_date(moment))
    if today is not None and today.close <= moment:
        return today
    return calendar.previous_session(trading_date(moment))


class NyseCalendar:
    """A SessionCalendar from exchange_calendars, half days and closures included."""

    def __init__(self, first: dt.date = FIRST_DATE, last: dt.date = LAST_DATE) -> None:
        self._first = first
        self._last = last
        self._loaded: tuple[Session, ...] = ()
        self._by_date: dict[dt.date, Session] = {}
        self._dates: list[dt.date] = []
        self._closes: list[dt.datetime] = []

    def session_on(self, date: dt.date) -> Session | None:
        """Return the session of a New York date, or None when the exchange is closed."""
        self._check(date)
        return self._by_date.get(date)

    def next_session(self, moment: dt.datetime) -> Session:
        """Return the first session whose close is after ``moment``."""
        self._check(trading_date(moment))
        place = bisect.bisect_right(self._closes, moment)
        if place == len(self._loaded):
            raise self._outside(trading_date(moment))
        return self._loaded[place]

    def previous_session(self, date: dt.date) -> Session:
        """Return the last session before a date."""
        self._check(date)
        place = bisect.bisect_left(self._dates, date)
        if place == 0:
            raise self._outside(date)
        return self._loaded[place - 1]

    def sessions(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Return the sessions between two dates, both included."""
        self._check(start)
        self._check(end)
        left = bisect.bisect_left(self._dates, start)
        return self._loaded[left : bisect.bisect_right(self._dates, end)]

    def _check(self, date: dt.date) -> None:
        if not self._first <= date <= self._last:
            raise self._outside(date)
        if not self._loaded:
            self._load()

    def _outside(self, date: dt.date) -> DataError:
        return DataError(
            f"{date} has no session in the calendar, which covers {self._first} to {self._last};"
            " choose a date inside it"
        )

    def _load(self) -> None:
        # Imported here: the package brings pandas, which half of the commands never need.
        import exchange_calendars  # noqa: PLC0415

        with warnings.catch_warnings():
            # The package uses what pandas 3.1 deprecates; nothing for our reader to act on.
            warnings.simplefilter("ignore", DeprecationWarning)
            exchange = exchange_calendars.get_calendar(
                "XNYS", start=self._first.isoformat(), end=self._last.isoformat()
            )
        early = {day.date() for day in exchange.early_closes}
        schedule = exchange.schedule
        self._loaded = tuple(
            Session(
                date=day.date(),
                open=_utc(opens),
                close=_utc(closes),
                is_half_day=day.date() in early,
            )
            for day, opens, closes in zip(
                schedule.index, schedule["open"], schedule["close"], strict=True
            )
        )
        self._by_date = {session.date: session for session in self._loaded}
        self._dates = [session.date for session in self._loaded]
        self._closes = [session.close for session in self._loaded]


def _utc(stamp: Any) -> dt.datetime:
    moment: dt.datetime = stamp.to_pydatetime()
    return moment.astimezone(UTC)
