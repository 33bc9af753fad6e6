"""Read the last session's books from the broker, for a report without the database."""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

from brokers.base import Broker
from daemon.after_close.report_dates import next_session
from daemon.config import Config
from daemon.connection import connect
from domain.account import Account, Position
from domain.errors import BadArgument, DataError
from domain.market import Session
from domain.money import CENT
from marketdata.base import SessionCalendar
from marketdata.session_calendar import day_start, trading_date
from reports.broker_close import as_of_close
from reports.from_broker import BrokerBooks, from_broker
from reports.model import EndOfDayReport

_MOST_READINGS = 5
_NEXT = "ask on the evening of a session, or restore a backup with openbell restore"


async def report_from_broker(
    config: Config, wanted: dt.date | None, *, calendar: SessionCalendar
) -> EndOfDayReport:
    """Build the report of the session that ended last, or that runs.

    Raises:
        BadArgument: another session was asked for; the broker tells its books of one only.
        BrokerUnavailable: it does not answer.
        DataError: it does not tell the equity before the session any more.
    """
    async with connect(config) as connection:
        broker = connection.broker
        now = (await broker.clock()).now
        session = _last_session(calendar, now)
        if wanted is not None and wanted != session.date:
            raise BadArgument(
                f"--date {wanted}: the broker alone tells the books of its last session only,"
                f" {session.date}; restore a backup with openbell restore"
            )
        before = calendar.previous_session(session.date)
        books = await _books(broker, session, before, now)
        if is_own_close(books.account, session, before, now):
            history = await broker.equity_history()
            books = as_of_close(
                books,
                equity_before=equity_before(history, books.account, session, before),
                day_ends=day_start(session.date + dt.timedelta(days=1)),
            )
    return from_broker(
        books, session.date, mode=config.mode, tomorrow=next_session(calendar, session)
    )


def is_own_close(account: Account, session: Session, before: Session, now: dt.datetime) -> bool:
    """Tell whether the account's last equity is that of this session's close.

    Raises:
        DataError: it is neither that nor the one before.
    """
    if account.last_close is None:
        return trading_date(now) > session.date
    if account.last_close in {session.date, before.date}:
        return account.last_close == session.date
    raise DataError(
        f"the broker's last_equity is of {account.last_close}, not of {before.date}: {_NEXT}"
    )


def equity_before(
    history: Mapping[dt.date, Decimal], account: Account, session: Session, before: Session
) -> Decimal:
    """Return the equity at the close before, from a history that knows this close rightly.

    Raises:
        DataError: it does not, or it does not have the one before.
    """
    found, own = history.get(before.date), history.get(session.date)
    if found is not None and own is not None and abs(own - account.last_equity) < CENT:
        return found
    raise DataError(
        f"the broker's last_equity is the close of {session.date} itself, and its history does"
        f" not tell the equity of {before.date} reliably: {_NEXT}"
    )


async def _books(
    broker: Broker, session: Session, before: Session, now: dt.datetime
) -> BrokerBooks:
    account, positions = await _steady(broker)
    return BrokerBooks(
        read_at=now,
        is_running=now < session.close,
        account=account,
        positions=positions,
        orders=await broker.orders_since(before.close),
        activities=[
            # Executions are timed, the rest is dated: at midnight of its day.
            one
            for one in await broker.activities(before.close)
            if one.at > before.close
        ],
    )


async def _steady(broker: Broker) -> tuple[Account, Sequence[Position]]:
    """Read account and holdings as of one moment: two readings of equity around them agree."""
    for _ in range(_MOST_READINGS):
        before = await broker.account()
        positions = await broker.positions()
        account = await broker.account()
        if account.equity == before.equity:
            break
    return account, positions


def _last_session(calendar: SessionCalendar, now: dt.datetime) -> Session:
    """Return the session that runs at this moment, or the one that ended last."""
    coming = calendar.next_session(now)
    return coming if coming.open <= now else calendar.previous_session(coming.date)
