"""Arguments that several commands share, checked the same way."""

import datetime as dt

from domain.errors import BadArgument
from domain.ids import Symbol, is_symbol


def session_date(text: str | None, *, option: str = "--date") -> dt.date | None:
    """Parse ``--date``, or another option that takes a date.

    Raises:
        BadArgument: it is not a date, or one that no calendar reaches.
    """
    if text is None:
        return None
    try:
        found = dt.date.fromisoformat(text)
    except ValueError:
        raise BadArgument(f"{option} {text}: not a date; write it as 2022-12-14") from None
    # Not above: most commands are typed without a date.
    from marketdata.session_calendar import FIRST_DATE, LAST_DATE

    if not FIRST_DATE <= found <= LAST_DATE:
        raise BadArgument(
            f"{option} {text}: outside the calendar; choose a date from {FIRST_DATE} to {LAST_DATE}"
        )
    return found


def symbol(text: str) -> Symbol:
    """Parse a symbol, in either case.

    Raises:
        BadArgument: it cannot be one.
    """
    if not is_symbol(text.upper()):
        raise BadArgument(f"{text}: not a US equity symbol, such as AAPL")
    return Symbol(text.upper())
