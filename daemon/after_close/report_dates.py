"""What reports need of calendar and configuration: the next session, periods, yardsticks."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

from daemon.config import Config
from domain.errors import DataError
from domain.market import Session
from marketdata.base import SessionCalendar
from reports.document import known_yardsticks
from reports.model import Tomorrow, Yardsticks
from reports.roll_up import MONTH, WEEK, period_of
from reports.write import DIRECTORY

_SATURDAY = 5


def next_session(calendar: SessionCalendar, session: Session) -> Tomorrow:
    """Return the session after this one, and the weekdays between that have none."""
    following = calendar.next_session(session.close)
    days = (following.date - session.date).days
    between = (session.date + dt.timedelta(days=number) for number in range(1, days))
    return Tomorrow(
        date=following.date,
        opens_at=following.open,
        closes_at=following.close,
        is_half_day=following.is_half_day,
        closed_between=tuple(day for day in between if day.weekday() < _SATURDAY),
    )


def ending_with(calendar: SessionCalendar, session: Session) -> tuple[str, ...]:
    """Return the kinds of period, week and month, whose last session this is."""
    following = calendar.next_session(session.close).date
    return tuple(kind for kind in (WEEK, MONTH) if period_of(kind, session.date)[2] < following)


def yardsticks(config: Config) -> Yardsticks:
    """Return what a report measures against by the configuration of today."""
    return Yardsticks(
        slippage_bps=Decimal(repr(config.broker.embedded.spread_bps)) / 2,
        gpu_daily_budget_usd=Decimal(repr(config.costs.gpu_daily_budget_usd)),
        monthly_budget_usd=Decimal(repr(config.costs.monthly_budget_usd)),
        max_drawdown_pct=config.risk.max_drawdown_pct,
        max_daily_loss_pct=config.risk.max_daily_loss_pct,
    )


def yardsticks_of(state: Path, date: dt.date, today: Yardsticks) -> Yardsticks:
    """Return what the report of a session measured against when it was made, else today's.

    A limit that is changed later must not change an old report.
    """
    try:
        text = (state / DIRECTORY / date.isoformat() / "report.json").read_text(encoding="utf-8")
        return known_yardsticks(json.loads(text)["yardsticks"])
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return today
