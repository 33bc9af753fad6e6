"""What the dashboard shows beyond the public listings, on one document."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from daemon.config import Config, state_directory
from daemon.schedule import NIGHT, RunKind
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock
from domain.money import text
from marketdata.base import SessionCalendar
from state.figures import Figures
from state.reader import Reader

Document = Mapping[str, Any]

# Older than this the books are not known to agree.  In session they are compared every
# half minute; outside it the comparison after the close stays good until the next day.
_RECONCILED_WITHIN = dt.timedelta(minutes=3)
_AFTER_CLOSE = NIGHT | {RunKind.END_OF_DAY}
_NAMES = {"embedded": "DEMO", "paper": "PAPER", "live": "LIVE"}


class Overview:
    """Makes the documents of ``/api/v1/overview`` and ``/readyz``."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        calendar: SessionCalendar,
        vitals: Vitals,
        time_scale: float,
        is_control: bool,
    ) -> None:
        self._config = config
        self._directory = state_directory(config)
        self._clock = clock
        self._calendar = calendar
        self._vitals = vitals
        self._time_scale = time_scale
        self._is_control = is_control

    def document(self) -> Document:
        """Return everything that the head of the page shows."""
        now = self._clock.now()
        with Reader(self._directory) as reader:
            status = reader.status()
            booked = reader.costs(now.date().replace(day=1), now.date())
        with Figures(self._directory) as figures:
            sequence, accuracy = figures.newest_event(), figures.accuracy()
        upcoming, started = self._vitals.next_run, self._vitals.started_at
        event_at = self._vitals.stream_event_at
        account = status.pop("account") or ""
        return {
            **status,
            "mode_name": self._mode_name(),
            "account_tail": account[-4:],
            "now": now.isoformat(),
            "speed": self._time_scale,
            "sequence": sequence,
            "started_at": started.isoformat() if started else None,
            "control": self._is_control,
            "next_run": {"kind": upcoming[0], "at": upcoming[1].isoformat()} if upcoming else None,
            "tomorrow": self._tomorrow(now),
            "stream": {
                "connected": self._vitals.is_stream_connected,
                "last_event_at": event_at.isoformat() if event_at else None,
            },
            "limits": self._limits(),
            "costs": self._costs(booked, now.date()),
            "accuracy": {
                source: {"matured": n, "right": hits, "baseline_right": base}
                for source, (n, hits, base) in accuracy.items()
            },
            "is_compared": not self._unreconciled(status),
            "problems": list(self.problems(status)),
        }

    def _tomorrow(self, now: dt.datetime) -> Document:
        """Return the session after that of the next run."""
        following = self._calendar.next_session(now)
        upcoming = self._vitals.next_run
        # The night belongs to the session that is over: none of the coming one is named yet.
        is_night = upcoming is not None and upcoming[0] in _AFTER_CLOSE
        if not is_night or now >= following.open:
            following = self._calendar.next_session(following.close)
        return {
            "date": following.date.isoformat(),
            "opens_at": following.open.isoformat(),
            "closes_at": following.close.isoformat(),
            "half_day": following.is_half_day,
        }

    def problems(self, status: Document | None = None) -> tuple[str, ...]:
        """Tell why the daemon is not ready to trade; empty when it is."""
        if status is None:
            with Reader(self._directory) as reader:
                status = reader.status()
        found = list(self._vitals.problems(time_scale=self._time_scale))
        if self._vitals.is_stopping:
            found.append("the daemon is stopping")
        if not self._vitals.is_ready:
            found.append("the daemon is starting")
        if status["kill"]["engaged"]:
            found.append(f"the kill latch is engaged: {status['kill']['reason']}")
        elif status["trading_state"] == "HALTED":
            found.append(f"trading is halted: {status['trading_state_reason']}")
        found += self._unreconciled(status)
        return tuple(found)

    def _unreconciled(self, status: Document) -> list[str]:
        at = status["reconciled_at"]
        if at is None:
            return ["the books were never compared with the broker"]
        age = self._clock.now() - dt.datetime.fromisoformat(at)
        if self._vitals.is_watching and not age <= _RECONCILED_WITHIN:
            return [f"the books were last compared {age.total_seconds():.0f} s ago"]
        return []

    def _mode_name(self) -> str:
        is_embedded = self._config.broker.kind == "embedded"
        return _NAMES["embedded" if is_embedded else self._config.mode]

    def _limits(self) -> Document:
        risk = self._config.risk
        return {
            "max_drawdown_pct": float(risk.max_drawdown_pct),
            "max_daily_loss_pct": float(risk.max_daily_loss_pct),
            "reduce_at_daily_loss_pct": float(risk.reduce_at_daily_loss_pct),
            "max_gross_pct": float(risk.max_gross_pct),
            "max_position_pct": float(risk.max_position_pct),
        }

    def _costs(self, booked: list[dict[str, Any]], today: dt.date) -> Document:
        month = sum((Decimal(row["amount_usd"]) for row in booked), Decimal(0))
        gpu = [row for row in booked if row["provider"] == "gpu"]
        day = [Decimal(row["amount_usd"]) for row in gpu if row["at"][:10] == today.isoformat()]
        return {
            "gpu_day_usd": text(sum(day, Decimal(0))),
            "gpu_day_budget_usd": str(self._config.costs.gpu_daily_budget_usd),
            "month_usd": text(month),
            "month_budget_usd": str(self._config.costs.monthly_budget_usd),
        }
