"""Reach the broker of a configuration: a real account, or the embedded one on loopback."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.alpaca_stream import AlpacaTradeStream, TradeStreamSettings
from brokers.alpaca_wire import BROKER_BREAKER
from daemon import log_setup
from daemon.config import AlpacaBrokerConfig, Config, state_directory
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, Credentials
from daemon.embedded import embedded_broker, published, recording_end, running_endpoint
from daemon.health.egress import Egress, egress_of
from daemon.live_mode import check_configuration
from domain.clock import Clock, LoopClock, SystemClock
from domain.errors import ConfigError
from marketdata.session_calendar import NyseCalendar
from state.files import prepare_directory
from transport.breaker import Breaker
from transport.http import Deadlines
from transport.replay_loop import ReplayLoop

# A start takes seconds; a machine on which it takes longer has other troubles than the pace.
_LONGEST_START_SECONDS = 120.0

BROKER = "broker"
"""The name of the broker's breaker, as status shows it."""


def _nothing() -> None:
    """A clock that is not ours to slow down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A broker that answers, the stream beside it, and the clock both live by.

    ``egress`` counts what leaves, ``breaker`` spares a broker that is away from reads; both
    are None for what a person stops with.  ``started`` is called once when start-up is over:
    until then a replay of its own makes no haste.
    """

    broker: AlpacaBroker
    stream: AlpacaTradeStream
    clock: Clock
    time_scale: float
    egress: Egress | None = None
    breaker: Breaker | None = None
    started: Callable[[], None] = _nothing


def start_clock(config: Config, *, at: dt.datetime | None = None) -> Clock:
    """Return the clock of the configuration; ``at`` overrides the start of a replay."""
    if config.clock.kind == "system":
        return SystemClock()
    return LoopClock(at or replay_start(config), asyncio.get_running_loop())


def replay_start(config: Config) -> dt.datetime:
    """Return ``clock.start``.

    Raises:
        ConfigError: it is no moment.
    """
    try:
        start = dt.datetime.fromisoformat(config.clock.start)
    except ValueError:
        start = None
    if start is None or start.tzinfo is None:
        # The embedded broker lives by our clock, so it has none to take the time from.
        other = ", or 'broker'" if config.broker.kind == "alpaca" else ""
        raise ConfigError(
            f"clock.start = {config.clock.start!r}: must be a time with offset,"
            f" such as '2022-11-14T07:00:00-05:00'{other}"
        )
    return start.astimezone(dt.UTC)


def check_recorded(config: Config) -> None:
    """Refuse a replay that has no session to live: it would begin anew without end.

    Raises:
        ConfigError: the recording of the embedded broker is over before it begins.
    """
    last = recording_end(config)
    if last is None:
        return
    is_replay = config.clock.kind == "replay"
    start = replay_start(config) if is_replay else SystemClock().now()
    if NyseCalendar().next_session(start).date <= last:
        return
    if is_replay:
        raise ConfigError(
            f"clock.start = {config.clock.start!r}: the recording of the embedded broker ends with"
            f" the session of {last}; begin before its close"
        )
    raise ConfigError(
        'clock.kind = "system": the recording of the embedded broker ends with the session of'
        f' {last}; set clock.kind = "replay" and clock.start, or broker.kind = "alpaca"'
    )


@contextlib.asynccontextmanager
async def connect(config: Config, *, is_urgent: bool = False) -> AsyncIterator[Connection]:
    """Reach the broker of the configuration; the embedded one is started.

    Args:
        config: tells which broker, and the mode that its address must fit.
        is_urgent: for what a person stops with: more budget, and no confirmation asked.

    Raises:
        ConfigError: the addresses or the confirmations do not fit the mode.
    """
    if not is_urgent:
        check_configuration(config)
    credentials = Credentials.of(config)
    if config.broker.kind == "alpaca":
        opened = _remote(config, config.broker.alpaca, credentials, is_urgent=is_urgent)
    elif (port := running_endpoint(config)) is not None:
        urls = _loopback(port)
        opened = _remote(config, urls, credentials, is_urgent=is_urgent, is_beside=True)
    else:
        opened = _embedded(config, credentials, is_urgent=is_urgent)
    async with opened as connection:
        yield connection


def _loopback(port: int) -> AlpacaBrokerConfig:
    return AlpacaBrokerConfig(
        trading_url=f"http://127.0.0.1:{port}", trade_stream_url=f"ws://127.0.0.1:{port}/stream"
    )


@contextlib.asynccontextmanager
async def _embedded(
    config: Config, credentials: Credentials, *, is_urgent: bool
) -> AsyncIterator[Connection]:
    # Said in our words before the exchange stumbles over it.
    prepare_directory(state_directory(config))
    with contextlib.ExitStack() as start_up:
        loop = asyncio.get_running_loop()
        if isinstance(loop, ReplayLoop):
            # At 600 simulated seconds in a real one, a slow start would miss the first run.
            start_up.enter_context(loop.real_time(_LONGEST_START_SECONDS))
        server = embedded_broker(
            config, clock=start_clock(config), calendar=NyseCalendar(), credentials=credentials
        )
        async with server:
            # A restored account may be ahead of the configured start; it never goes back.
            clock = start_clock(config, at=server.venue.now())
            urls = _loopback(server.port)
            opened = _connected(config, urls, credentials, clock, is_urgent=is_urgent)
            async with opened as connection:
                with published(config, server):
                    yield dataclasses.replace(connection, started=start_up.close)


@contextlib.asynccontextmanager
async def _remote(
    config: Config,
    urls: AlpacaBrokerConfig,
    credentials: Credentials,
    *,
    is_urgent: bool,
    is_beside: bool = False,
) -> AsyncIterator[Connection]:
    clock: Clock = SystemClock()
    if config.clock.kind == "replay" and not is_beside:
        clock = await replay_clock(config, credentials)
    async with _connected(config, urls, credentials, clock, is_urgent=is_urgent) as connection:
        yield connection


@contextlib.asynccontextmanager
async def _connected(
    config: Config,
    urls: AlpacaBrokerConfig,
    credentials: Credentials,
    clock: Clock,
    *,
    is_urgent: bool,
) -> AsyncIterator[Connection]:
    # Until the daemon sets its log up: what a command prints on stdout is its answer alone.
    log_setup.configure(
        level="warning",
        form="console",
        clock=clock,
        # A kill is not held up by a token of a service that it does not ask.
        secrets=credentials.readable() if is_urgent else credentials.known(),
    )
    # What a person stops with must not be stopped by the rules of what it stops.
    egress = None if is_urgent else egress_of(config, clock)
    breaker = None if is_urgent else Breaker(BROKER, BROKER_BREAKER, clock=clock)
    broker, stream = _adapters(
        config, urls, credentials, clock, is_urgent=is_urgent, egress=egress, breaker=breaker
    )
    try:
        yield Connection(
            broker=broker,
            stream=stream,
            clock=clock,
            time_scale=loop_scale(),
            egress=egress,
            breaker=breaker,
        )
    finally:
        await broker.aclose()


async def replay_clock(config: Config, credentials: Credentials) -> Clock:
    """Return the clock of a replay; a start of "broker" asks the broker for the time.

    Raises:
        ConfigError: ``clock.start`` is no moment.
        BrokerUnavailable: the broker does not tell the time.
    """
    if config.clock.start != "broker":
        return start_clock(config)
    probe, _ = _adapters(config, config.broker.alpaca, credentials, SystemClock(), is_urgent=False)
    try:
        return start_clock(config, at=(await probe.clock()).now)
    finally:
        await probe.aclose()


def _adapters(
    config: Config,
    urls: AlpacaBrokerConfig,
    credentials: Credentials,
    clock: Clock,
    *,
    is_urgent: bool,
    egress: Egress | None = None,
    breaker: Breaker | None = None,
) -> tuple[AlpacaBroker, AlpacaTradeStream]:
    key_id, secret_key = credentials.require(BROKER_KEY_ID), credentials.require(BROKER_SECRET_KEY)
    scale = loop_scale()
    broker = AlpacaBroker.connect(
        AlpacaSettings(
            trading_url=urls.trading_url,
            deadlines=Deadlines(
                connect_seconds=urls.connect_timeout_seconds,
                read_seconds=urls.read_timeout_seconds,
                total_seconds=urls.total_timeout_seconds,
            ),
            time_scale=scale,
            is_urgent=is_urgent,
        ),
        key_id=key_id,
        secret_key=secret_key,
        clock=clock,
        egress=egress.counter if egress is not None else None,
        breaker=breaker,
    )
    # A replayed day lasts seconds: pings would be its busiest traffic.
    pings = None if isinstance(asyncio.get_running_loop(), ReplayLoop) else 10.0
    stream = AlpacaTradeStream(
        TradeStreamSettings(
            url=urls.trade_stream_url, ping_interval_seconds=pings, time_scale=scale
        ),
        key_id=key_id,
        secret_key=secret_key,
        clock=clock,
    )
    return broker, stream


def loop_scale() -> float:
    """Loop seconds in one real second, for deadlines on the wire; a stepping loop has none."""
    loop = asyncio.get_running_loop()
    return max(1.0, loop.speed) if isinstance(loop, ReplayLoop) else 1.0
