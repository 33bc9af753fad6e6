"""The only place that builds things: from a configuration to a running daemon."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator

import structlog

from daemon import log_setup
from daemon.config import Config, state_directory
from daemon.connection import Connection, connect
from daemon.credentials import Credentials
from daemon.embedded import recording_end, running_endpoint
from daemon.engines import Engines, open_engines
from daemon.forecasting import forecast_engine, local_engine
from daemon.lifecycle import Daemon, Ending, Life
from daemon.live_mode import check_account
from daemon.market_check import MarketCheck
from daemon.monitor import Monitor
from daemon.nightly import Nightly
from daemon.reporting import Reporter
from daemon.schedule import Alarm, clock_alarm, scheduler_alarm
from daemon.scorekeeping import scored_first, scorekeeper
from daemon.service import Notifier
from daemon.stops import Stops
from daemon.telemetry.telling import Telling
from daemon.trading_day import Trade
from daemon.watch import Watch
from domain.clock import Clock
from domain.errors import StateError
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from execution.cycle import CycleSettings, TradingCycle
from execution.desk import Desk, OrderSettings
from execution.gathering import Sources
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from execution.stream import StreamFollower
from forecasts.base import Forecaster
from marketdata.session_calendar import NyseCalendar
from risk.error_rate import ErrorWindow
from state.decisions import Decisions
from state.equity import EquityCurve
from state.facts import Facts
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.pause import Pause
from state.risk_state import RiskState
from state.runs import Runs
from state.store import Store
from strategies.registry import build_allocations


async def run_daemon(
    config: Config,
    *,
    sessions: int | None = None,
    is_waiting: bool = False,
    stop: asyncio.Event | None = None,
    notifier: Notifier | None = None,
) -> Ending:
    """Build the daemon and let it live.

    Args:
        config: everything that can be set.
        sessions: how many to live; None for ever.
        is_waiting: after them stay up, with time standing still.
        stop: set it to end soon and cleanly.
        notifier: tells the service manager.

    Raises:
        OpenbellError: it cannot start, or cannot go on.
    """
    # Before anything is opened: a bad section must leave nothing behind.
    cycle_settings = _cycle_settings(config)
    local_engine(config)
    if running_endpoint(config) is not None:
        raise StateError(
            f"{state_directory(config)} is in use by a running daemon; stop that one first"
        )
    async with connect(config) as connection:
        log_setup.configure(
            level=config.logging.level,
            form=config.logging.format,
            clock=connection.clock,
            secrets=Credentials.of(config).known(),
        )
        telling = Telling(
            config,
            clock=connection.clock,
            time_scale=connection.time_scale,
            notifier=notifier or Notifier(),
        )
        store = Store.open(state_directory(config), clock=connection.clock)
        try:
            desk = await open_books(config, connection, store, telling)
            if connection.egress is not None:
                connection.egress.note = desk.note
            clock, scale = connection.clock, connection.time_scale
            async with (
                forecast_engine(config, store, clock, time_scale=scale) as forecaster,
                open_engines(
                    config, store, clock=clock, calendar=NyseCalendar(), time_scale=scale
                ) as engines,
            ):
                sources = _sources(desk, engines, telling.forecaster(forecaster), telling)
                life = _build(config, connection, desk, sources, cycle_settings, telling)
                daemon = Daemon(life)
                async with (
                    telling.open(desk, life.trade.reconciler),
                    _obeying(stop, daemon),
                    telling.errors.restarting(desk, telling.vitals, stop=daemon.stop),
                ):
                    ending = await daemon.run(sessions=sessions, is_waiting=is_waiting)
                    return Ending.RESTART if telling.errors.is_restarting else ending
        finally:
            store.close()


@contextlib.asynccontextmanager
async def _obeying(stop: asyncio.Event | None, daemon: Daemon) -> AsyncIterator[None]:
    async def obey(event: asyncio.Event) -> None:
        await event.wait()
        daemon.stop()

    if stop is None:
        yield
        return
    task = asyncio.create_task(obey(stop))
    try:
        yield
    finally:
        task.cancel()


async def open_books(
    config: Config, connection: Connection, store: Store, telling: Telling | None = None
) -> Desk:
    """Tie the store to the account that answers, and lay out what the order path works with.

    Raises:
        ConfigError: the account is not the one that the mode asks for.
        StateError: the store belongs to another account.
        BrokerUnavailable: the account could not be read.
    """
    account = await connection.broker.account()
    check_account(config, account.account_number)
    store.bind_account(account.account_number)
    latch = Latch(state_directory(config))
    store.sync_latch(latch)
    Facts(store).put(mode=config.mode)
    return Desk(
        broker=telling.broker(connection.broker) if telling else connection.broker,
        store=store,
        journal=Journal(store),
        ledger=Ledger(store),
        incidents=Incidents(store),
        latch=latch,
        clock=connection.clock,
        trading_state=RiskState(store).trading_state,
        settings=OrderSettings(is_long_only=not config.risk.allow_short),
        errors=ErrorWindow(config.risk.order_errors),
        alert=telling.hub.alert if telling else _alert,
    )


def _alert(kind: str, text: str, symbol: Symbol | None) -> None:
    structlog.get_logger("alert").warning(kind, text=text, symbol=symbol)


def _cycle_settings(config: Config) -> CycleSettings:
    return CycleSettings(
        symbols=tuple(map(Symbol, config.universe.symbols)),
        allocations=build_allocations(config.strategies, min_confidence=config.risk.min_confidence),
        limits=config.risk,
        min_history=config.forecasts.min_history,
        news_look_back=dt.timedelta(hours=config.news.look_back_hours),
        # Where no remote engine is wanted the local one is not a second best.
        healthy_source=(
            ForecastSource.REMOTE if config.forecasts.remote.url else ForecastSource.LOCAL
        ),
    )


def _build(
    config: Config,
    connection: Connection,
    desk: Desk,
    sources: Sources,
    cycle_settings: CycleSettings,
    telling: Telling,
) -> Life:
    store, calendar = desk.store, sources.calendar
    path = OrderPath(desk)
    reconciler = Reconciler(desk, path)
    market = MarketCheck(
        desk,
        calendar=calendar,
        facts=Facts(store),
        is_clock_compared=config.clock.kind == "system",
    )
    monitor = Monitor(
        desk,
        risk_state=RiskState(store),
        curve=EquityCurve(store),
        pause=Pause(store.directory),
        limits=config.risk,
        doubt=lambda: market.problem,
    )
    trade = Trade(
        cycle=TradingCycle(
            sources=sources,
            settings=cycle_settings,
            decisions=Decisions(store),
            journal=desk.journal,
            clock=connection.clock,
        ),
        desk=desk,
        path=path,
        reconciler=reconciler,
        monitor=monitor,
        calendar=calendar,
        limits=config.risk,
        facts=Facts(store),
        report=scored_first(
            scorekeeper(config, desk, sources),
            Reporter(store, calendar=calendar, clock=connection.clock).write,
            desk.note,
        ),
        clock=connection.clock,
        nightly=Nightly(store, retention=config.retention, clock=connection.clock).jobs(),
        market=market,
    )
    return Life(
        trade=trade,
        stream=telling.stream(connection.stream),
        follower=StreamFollower(desk, path, reconciler),
        watch=Watch(
            reconciler=reconciler,
            monitor=monitor,
            stops=Stops(desk, path, config.risk),
            clock=connection.clock,
            market=market,
            vitals=telling.vitals,
        ),
        runs=Runs(store),
        alarm=_alarm(config, connection.clock),
        schedule=config.schedule,
        vitals=telling.vitals,
        timed_run=telling.timed_run,
        last_recorded=recording_end(config),
        started=connection.started,
    )


def _sources(desk: Desk, engines: Engines, forecaster: Forecaster, telling: Telling) -> Sources:
    return Sources(
        broker=desk.broker,
        calendar=NyseCalendar(),
        bars=engines.feed.bars,
        actions=engines.feed.actions,
        earnings=engines.feed.earnings,
        doubts=engines.board.doubts if engines.board is not None else dict,
        news=engines.news,
        forecaster=forecaster,
        scorer=telling.scorer(engines.scorer),
    )


def _alarm(config: Config, clock: Clock) -> Alarm:
    return scheduler_alarm(clock) if config.clock.kind == "system" else clock_alarm(clock)
