"""Turn the daemon's log events into the few lines a newcomer reads."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from marketdata.session_calendar import new_york

Event = Mapping[str, Any]
Say = Callable[[str, str], None]
"""Takes a time of day and a line."""


class Narrator:
    """Tells the events of a day once each, in plain words."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told: set[str] = set()
        self._fills = 0
        self._lost_symbol = ""
        self.is_stream_lost = False
        self._by_event: Mapping[str, Callable[[Event], str | None]] = {
            "session.began": self._began,
            "reconcile.finished": self._reconciled,
            "bars.read": self._bars,
            "forecast.fell_back": self._fell_back,
            "decision.made": self._decided,
            "order.denied": self._denied,
            "order.unknown": self._unknown,
            "order.found": self._found,
            "orders.sent": self._sent,
            "fill.booked": self._filled,
            "stream.lost": self._stream_lost,
            "symbol.locked": self._passed_on,
            "kill.engaged": self._passed_on,
            "run.failed": self._passed_on,
            "report.written": self._reported,
        }

    def hear(self, event: Event) -> None:
        """Take one log event."""
        tell = self._by_event.get(str(event.get("event")))
        line = tell(event) if tell else None
        if line:
            self._say(clock_time(event), line)

    def _once(self, key: str) -> bool:
        is_first = key not in self._told
        self._told.add(key)
        return is_first

    def _began(self, event: Event) -> str | None:
        # The first day is in the title.
        if self._once("began"):
            return None
        return f"{dt.date.fromisoformat(str(event['date'])):%A, %d %B %Y}"

    def _reconciled(self, event: Event) -> str | None:
        if not self._once("reconciled"):
            return None
        breaks = event["breaks"]
        return f"books and broker compared: {'no difference' if not breaks else f'{breaks} breaks'}"

    def _bars(self, event: Event) -> str | None:
        return (
            f"bars: {event['symbols']} symbols up to {event['last']},"
            f" {event['with_range']} of them with open, high, low and volume"
        )

    def _fell_back(self, event: Event) -> str | None:
        return (
            f"remote forecast: {_shortly(event['reason'])}; breaker {event['breaker']},"
            " the local LSTM answers"
        )

    def _decided(self, event: Event) -> str:
        actions = list(event["actions"].values())
        counts = ", ".join(f"{actions.count(name)} {name}" for name in ("BUY", "SELL", "HOLD"))
        return (
            f"{event['forecasts']} forecasts, {event['confident']} of them at 60 % or more;"
            f" {counts}; {_count(event['orders'], 'order')}"
        )

    def _denied(self, event: Event) -> str:
        return f"{event['symbol']} denied by {', '.join(event['limits'])}"

    def _unknown(self, event: Event) -> str:
        self._lost_symbol = str(event["symbol"])
        return (
            f"{event['symbol']}: accepted, but the answer was lost; UNKNOWN, nothing is sent again"
        )

    def _found(self, event: Event) -> str | None:
        if event["symbol"] != self._lost_symbol:
            return None
        return f"{event['symbol']}: found at the broker by its own id; one order, not two"

    def _sent(self, event: Event) -> str:
        sent = _count(event["sent"], "order")
        return f"{sent} at the broker before the open, {event['denied']} denied"

    def _filled(self, event: Event) -> str | None:
        self._fills += 1
        if self.is_stream_lost and event["origin"] != "stream" and self._once("refound"):
            return f"{event['symbol']}: its fill came while the stream was down; found by comparing"
        return None

    def _stream_lost(self, event: Event) -> str:
        self.is_stream_lost = True
        return "the trade stream broke; reconnecting, then comparing with the broker"

    def _passed_on(self, event: Event) -> str:
        return str(event.get("text", event["event"]))

    def _reported(self, event: Event) -> str:
        verdict = "balances" if event["reconciled"] else "NOT RECONCILED"
        return (
            f"report: {_count(event['fills'], 'fill')}, equity {event['equity_end']},"
            f" P&L {event['pnl']}, residual {event['residual']} ({verdict})"
        )


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _shortly(reason: str) -> str:
    if "connect" in reason:
        return "cannot connect"
    return "no answer in time" if "deadline" in reason else reason[:40]


def clock_time(event: Event) -> str:
    """Return the New York time of an event, ``HH:MM``."""
    moment = dt.datetime.fromisoformat(str(event["at"]))
    return f"{new_york(moment):%H:%M}"
