"""Read the last session's books from the broker, for a report without the database."""

import datetime as dt
from collections.abc import Sequence

from brokers.base import Broker
from daemon.after_close.report_dates import next_session
from daemon.config import Config
from daemon.connection import connect
from domain.account import Account, Position
from domain.errors import BadArgument
from domain.market import Session
from marketdata.base import SessionCalendar
from reports.from_broker import BrokerBooks, from_broker
from reports.model import EndOfDayReport

_MOST_READINGS = 5


async def report_from_broker(
    config: Config, wanted: dt.date | None, *, calendar: SessionCalendar
) -> EndOfDayReport:
    """Build the report of the session that ended last, or that runs.

    Raises:
        BadArgument: another session was asked for; the broker tells its books of one only.
        BrokerUnavailable: it does not answer.
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
        account, positions = await _steady(broker)
        books = BrokerBooks(
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
    return from_broker(
        books, session.date, mode=config.mode, tomorrow=next_session(calendar, session)
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
