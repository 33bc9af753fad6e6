"""Which days the demo lives, and what goes wrong on them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.config import Config
from domain.errors import BadArgument, ConfigError
from domain.market import Session
from marketdata.recording import recording
from marketdata.session_calendar import NyseCalendar

# The broker takes an order and its answer never comes; later the stream breaks exactly
# when an execution should have been told.
FAULTS = ("lose_answer:order=2,mode=reset", "drop_stream:fill=1")
_START_BEFORE_OPEN = dt.timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The sessions to live, oldest first."""

    sessions: tuple[Session, ...]

    @property
    def start(self) -> dt.datetime:
        """Moment at which the replay begins."""
        return self.sessions[0].open - _START_BEFORE_OPEN

    @property
    def end(self) -> dt.datetime:
        """Close of the last session."""
        return self.sessions[-1].close


def plan(config: Config, *, days: int, date: dt.date | None) -> Scenario:
    """Choose the sessions.

    Raises:
        ConfigError: the configuration is not for the embedded broker.
        BadArgument: the date is no session, or the recording does not cover it.
    """
    if config.broker.kind != "embedded" or config.marketdata.provider != "sample":
        raise ConfigError(
            'broker.kind: the demo needs "embedded", and marketdata.provider "sample";'
            " pass the repository's own config.toml with --config"
        )
    calendar = NyseCalendar()
    first = date or dt.datetime.fromisoformat(config.clock.start).date()
    _check_covered(config, first, calendar)
    if calendar.session_on(first) is None:
        near = calendar.previous_session(first).date
        raise BadArgument(f"--date {first}: the exchange was closed; try {near}")
    sessions = calendar.sessions(first, first + dt.timedelta(days=2 * days + 10))[:days]
    _check_covered(config, sessions[-1].date, calendar)
    return Scenario(sessions=tuple(sessions))


def _check_covered(config: Config, date: dt.date, calendar: NyseCalendar) -> None:
    coverage = recording().coverage()
    unknown = [symbol for symbol in config.universe.symbols if symbol not in coverage]
    if unknown:
        raise ConfigError(
            f"universe.symbols: {unknown[0]} is not recorded; known are {_names(list(coverage))}"
        )
    spans = [coverage[symbol] for symbol in config.universe.symbols]  # type: ignore[index]
    last = min(span.last for span in spans)
    earliest = _first_date(max(span.first for span in spans), config.forecasts.min_history)
    first = calendar.sessions(earliest, last)[0].date
    if not first <= date <= last:
        raise BadArgument(
            f"--date {date}: outside the recording; choose a session from {first} to {last}"
        )


def _first_date(recorded: dt.date, min_history: int) -> dt.date:
    # Sessions to calendar days, rounded up.
    return recorded + dt.timedelta(days=round(min_history * 1.5))


def _names(symbols: Sequence[str]) -> str:
    return ", ".join(sorted(symbols))
