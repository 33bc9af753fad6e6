"""New York hours that orders depend on: auctions, extended hours, good-till-canceled."""

import datetime as dt
from zoneinfo import ZoneInfo

from brokers.exchange.prices import SessionSource
from brokers.exchange.words import Tif
from domain.market import Session

NEW_YORK = ZoneInfo("America/New_York")
_EVENING = dt.time(19, 0)
_OPENING_CUTOFF = dt.timedelta(minutes=2)
_CLOSING_CUTOFF = dt.timedelta(minutes=10)
_GTC_DAYS = 90


def new_york(at: dt.datetime) -> dt.datetime:
    """Return a moment with New York's offset."""
    return at.astimezone(NEW_YORK)


def session_at(calendar: SessionSource, at: dt.datetime) -> Session | None:
    """Return the session that is open at a moment, or None."""
    session = calendar.session_on(new_york(at).date())
    return session if session is not None and session.open <= at < session.close else None


def takes_auction_orders(calendar: SessionSource, tif: Tif, at: dt.datetime) -> bool:
    """Tell whether an opening or closing order may be sent now.

    The cut-offs are two minutes before the open and ten before the close; orders for the
    next session are taken from 19:00.
    """
    local = new_york(at)
    session = calendar.session_on(local.date())
    if session is None or local.time() >= _EVENING:
        return True
    if tif is Tif.OPG:
        return at < session.open - _OPENING_CUTOFF
    return at < session.close - _CLOSING_CUTOFF


def extended_close(session: Session) -> dt.datetime:
    """Return the end of extended hours: 20:00, or 17:00 on a half day."""
    hour = 17 if session.is_half_day else 20
    return dt.datetime.combine(session.date, dt.time(hour), NEW_YORK).astimezone(dt.UTC)


def good_till(at: dt.datetime) -> dt.datetime:
    """Return when a good-till-canceled order ends: 16:15 in ninety days."""
    date = new_york(at).date() + dt.timedelta(days=_GTC_DAYS)
    return dt.datetime.combine(date, dt.time(16, 15), NEW_YORK).astimezone(dt.UTC)
