"""The embedded broker: the recorded market behind Alpaca's API, in this process."""

import contextlib
import datetime as dt
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from daemon.config import Config, state_directory
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, Credentials
from domain.clock import Clock
from domain.errors import ConfigError
from domain.ids import Symbol
from marketdata.base import SessionCalendar

if TYPE_CHECKING:
    from brokers.paper_server import Fault, PaperServer

DIRECTORY = "paper"
_ENDPOINT = "endpoint"
# The exchange shows yesterday's close before the open, so it needs the days before.
_DAYS_BEFORE = 10


def embedded_broker(
    config: Config,
    *,
    clock: Clock,
    calendar: SessionCalendar,
    credentials: Credentials,
    port: int = 0,
) -> "PaperServer":
    """Build the server; its account lives in ``{state.directory}/paper``.  Nothing listens yet.

    Raises:
        DataError: the recorded prices are not installed.
        ConfigError: a fault is not known.
    """
    # A kill, and any command for a real account, must not wait for a web server to load.
    from brokers.exchange.daily_path import DailyPath
    from brokers.exchange.settings import ExchangeSettings
    from brokers.paper_server import Keys, PaperServer, ServerOptions
    from marketdata.recording import recording

    start = clock.now().date() - dt.timedelta(days=_DAYS_BEFORE)
    recorded = recording()
    last = max(coverage.last for coverage in recorded.coverage().values())
    symbols = [Symbol(symbol) for symbol in config.universe.symbols]
    bars = {symbol: recorded.bars(symbol, start, last) for symbol in symbols}
    settings = config.broker.embedded
    return PaperServer(
        state_directory(config) / DIRECTORY,
        feed=DailyPath(
            {symbol: series for symbol, series in bars.items() if series},
            calendar.sessions(start, last),
            spread_bps=Decimal(repr(settings.spread_bps)),
        ),
        calendar=calendar,
        clock=clock,
        settings=ExchangeSettings(starting_cash=Decimal(settings.starting_cash_usd)),
        options=ServerOptions(
            keys=Keys(
                key_id=credentials.require(BROKER_KEY_ID).reveal(),
                secret_key=credentials.require(BROKER_SECRET_KEY).reveal(),
            ),
            faults=faults_of(config),
            port=port,
        ),
    )


def recording_end(config: Config) -> dt.date | None:
    """Return the last date on which the embedded broker has prices; None with another broker."""
    if config.broker.kind != "embedded":
        return None
    from marketdata.recording import recording

    coverage = recording().coverage()
    ends = [
        coverage[Symbol(symbol)].last
        for symbol in config.universe.symbols
        if Symbol(symbol) in coverage and coverage[Symbol(symbol)].has_range
    ]
    return max(ends, default=None)


def faults_of(config: Config) -> "tuple[Fault, ...]":
    """Return what goes wrong at the embedded broker.

    Raises:
        ConfigError: a fault is not known.
    """
    from brokers.paper_server import parse_fault

    try:
        return tuple(parse_fault(text) for text in config.broker.embedded.faults)
    except ConfigError as exc:
        raise ConfigError(f"broker.embedded.faults: {exc}") from None


@contextlib.contextmanager
def published(config: Config, server: "PaperServer") -> Iterator[None]:
    """Leave word where the server listens, for commands typed beside the daemon."""
    path = state_directory(config) / DIRECTORY / _ENDPOINT
    path.write_text(str(server.port), encoding="ascii")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_endpoint(config: Config) -> int | None:
    """Return the port of the embedded broker of a running process, or None."""
    if config.broker.kind != "embedded":
        return None
    path = state_directory(config) / DIRECTORY / _ENDPOINT
    try:
        port = int(path.read_text(encoding="ascii"))
        # A process that was killed leaves its word behind, and nobody listens.
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except (OSError, ValueError):
        return None
    return port
