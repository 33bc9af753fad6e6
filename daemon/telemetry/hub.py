"""Where parts of the daemon leave word, and who listens: metrics, MQTT, alerts, the web page.

A listener that fails is logged and skipped: telling about trading must never disturb it.
"""

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from domain.clock import Clock
from domain.ids import Symbol

Listener = Callable[["Notice"], None]

# What a person should hear about at once; the rest is for the record.
URGENT = frozenset(
    {
        "account.mismatch",
        "broker.crossed_answer",
        "calendar.disagrees",
        "clock.skewed",
        "command.rejected",
        "daemon.failed",
        "daemon.restarting",
        "egress.broken",
        "budget.exhausted",
        "equity.unusable",
        "exit.denied",
        "fill.beyond_order",
        "fill.conflict",
        "fill.taken_back",
        "forecast.demoted",
        "forecast.restored",
        "forecast.tampered",
        "health.checked",
        "gpu.unscaled",
        "kill.engaged",
        "kill.unfinished",
        "model.promoted",
        "market.closed",
        "order.abandoned",
        "order.external",
        "order.id_collision",
        "order.unknown",
        "orders.refused",
        "orders.unsent",
        "position.short",
        "position.stuck",
        "reconcile.failed",
        "report.undelivered",
        "run.failed",
        "run.missed",
        "run.waiting",
        "stop.denied",
        "stop.doubtful",
        "stop.reached",
        "stop.unwatched",
        "symbol.locked",
        "telemetry.failed",
        "trading_state.changed",
        "watchdog.stalled",
    }
)

_FIGURES = re.compile(r"\d[\d.,:]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened, in words."""

    kind: str
    text: str
    symbol: Symbol | None
    at: dt.datetime

    @property
    def is_urgent(self) -> bool:
        """True when a person should hear of it now."""
        return self.kind in URGENT


class Hub:
    """Fans notices out, and wakes whoever shows the state when it changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: list[Listener] = []
        self._wakers: set[asyncio.Event] = set()
        self._log = structlog.get_logger("alert")

    def alert(self, kind: str, text: str, symbol: Symbol | None = None) -> None:
        """Log a notice and hand it to every listener; never raises."""
        self._log.warning(kind, text=text, symbol=symbol)
        notice = Notice(kind=kind, text=text, symbol=symbol, at=self._clock.now())
        for listener in self._listeners:
            try:
                listener(notice)
            except Exception as exc:  # noqa: BLE001 - whoever listens must not stop an order
                self._log.error("listener.failed", reason=repr(exc))

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every notice from now on; it must not wait."""
        self._listeners.append(listener)

    def changed(self) -> None:
        """Wake whoever shows the state."""
        for waker in self._wakers:
            waker.set()

    @contextlib.contextmanager
    def waker(self) -> Iterator[asyncio.Event]:
        """Lend an event that is set whenever the state changes."""
        event = asyncio.Event()
        self._wakers.add(event)
        try:
            yield event
        finally:
            self._wakers.discard(event)


def without_figures(text: str) -> str:
    """Return what a text says apart from how long and how many: the same of it is no news."""
    return _FIGURES.sub("#", text)
