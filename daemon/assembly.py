"""Put the daemon together: the cycle that decides, the day that acts, the watch that looks."""

import datetime as dt
from dataclasses import dataclass
from functools import partial

from daemon.after_close.nightly import Nightly
from daemon.after_close.report_dates import yardsticks
from daemon.after_close.reporting import Deliver, Reporter, deliver_nowhere
from daemon.after_close.retraining import Retraining
from daemon.after_close.scorekeeping import scored_first, scorekeeper
from daemon.config import Config
from daemon.connection import Connection
from daemon.embedded import recording_end
from daemon.lifecycle import Life
from daemon.provenance import made_by
from daemon.schedule import Alarm, clock_alarm, scheduler_alarm
from daemon.session.market_check import MarketCheck
from daemon.session.monitor import Monitor
from daemon.session.stops import Stops
from daemon.session.trading_day import Trade
from daemon.session.watch import Watch
from daemon.sources.engines import Engines
from daemon.telemetry.telling import Telling
from domain.clock import Clock
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from execution.cycle import CycleSettings, TradingCycle
from execution.desk import Desk
from execution.gathering import Sources
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from execution.stream import StreamFollower
from forecasts.base import Forecaster
from marketdata.traded_sessions import TradedSessions
from state.decisions import Decisions
from state.equity import EquityCurve
from state.facts import Facts
from state.risk_state import RiskState
from state.runs import Runs
from strategies.registry import build_allocations


def cycle_settings(config: Config) -> CycleSettings:
    """Return what the cycle trades, with whose capital, within which limits.

    Raises:
        ConfigError: a strategy is unknown or set wrongly.
    """
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is open already: the account's books, the sources, and who is told."""

    config: Config
    settings: CycleSettings
    connection: Connection
    desk: Desk
    calendar: TradedSessions
    engines: Engines
    forecaster: Forecaster
    telling: Telling


def assemble(parts: Parts) -> Life:
    """Return what the daemon lives on."""
    desk, telling, clock = parts.desk, parts.telling, parts.connection.clock
    path = OrderPath(desk)
    reconciler = Reconciler(desk, path)
    market = _market_check(parts)
    monitor = _monitor(parts)
    return Life(
        trade=_trade(parts, path, reconciler, monitor, market),
        stream=telling.stream(parts.connection.stream),
        follower=StreamFollower(desk, path, reconciler),
        watch=Watch(
            reconciler=reconciler,
            monitor=monitor,
            stops=Stops(desk, path, parts.config.risk, board=parts.engines.board),
            clock=clock,
            market=market,
            vitals=telling.vitals,
        ),
        runs=Runs(desk.store),
        alarm=_alarm(parts.config, clock),
        schedule=parts.config.schedule,
        vitals=telling.vitals,
        timed_run=telling.timed_run,
        last_recorded=recording_end(parts.config),
        started=parts.connection.started,
    )


def _trade(
    parts: Parts, path: OrderPath, reconciler: Reconciler, monitor: Monitor, market: MarketCheck
) -> Trade:
    config, desk, clock = parts.config, parts.desk, parts.connection.clock
    sources = _sources(parts)
    reporter = _reporter(parts, sources)
    keeper = scorekeeper(config, desk, sources)
    return Trade(
        cycle=TradingCycle(
            sources=sources,
            settings=parts.settings,
            decisions=Decisions(desk.store),
            journal=desk.journal,
            clock=clock,
        ),
        desk=desk,
        path=path,
        reconciler=reconciler,
        monitor=monitor,
        calendar=parts.calendar,
        limits=config.risk,
        facts=Facts(desk.store),
        report=scored_first(keeper, reporter.write, desk.note),
        clock=clock,
        look_again=reporter.look_again,
        nightly={
            **Nightly(desk.store, retention=config.retention, clock=clock).jobs(),
            **_retraining(parts).jobs(),
        },
        market=market,
        min_symbols_fraction=config.marketdata.min_symbols_pct / 100,
        made_by=partial(made_by, config),
    )


def _retraining(parts: Parts) -> Retraining:
    vitals = parts.telling.vitals
    return Retraining(
        parts.config,
        note=parts.desk.note,
        is_stopping=lambda: vitals.is_stopping,
        now=parts.desk.clock.now,
    )


def _reporter(parts: Parts, sources: Sources) -> Reporter:
    return Reporter(
        parts.desk.store,
        calendar=sources.calendar,
        clock=parts.connection.clock,
        yardsticks=yardsticks(parts.config),
        deliver=_delivery(parts),
    )


def _delivery(parts: Parts) -> Deliver:
    if not parts.config.alerts.reports:
        return deliver_nowhere
    from daemon.telemetry.delivery import ReportDelivery

    return ReportDelivery(
        parts.config,
        time_scale=parts.connection.time_scale,
        alert=parts.telling.hub.alert,
    )


def _monitor(parts: Parts) -> Monitor:
    store = parts.desk.store
    return Monitor(
        parts.desk,
        risk_state=RiskState(store),
        curve=EquityCurve(store),
        limits=parts.config.risk,
    )


def _market_check(parts: Parts) -> MarketCheck:
    return MarketCheck(
        parts.desk,
        calendar=parts.calendar,
        facts=Facts(parts.desk.store),
        is_clock_compared=parts.config.clock.kind == "system",
    )


def _sources(parts: Parts) -> Sources:
    engines, telling = parts.engines, parts.telling
    return Sources(
        broker=parts.desk.broker,
        calendar=parts.calendar,
        bars=engines.feed.bars,
        actions=engines.feed.actions,
        earnings=engines.feed.earnings,
        closed=lambda: parts.calendar.closed,
        doubts=engines.board.doubts if engines.board is not None else dict,
        keep=engines.keep,
        news=engines.news,
        forecaster=telling.forecaster(parts.forecaster),
        scorer=telling.scorer(engines.scorer),
    )


def _alarm(config: Config, clock: Clock) -> Alarm:
    return scheduler_alarm(clock) if config.clock.kind == "system" else clock_alarm(clock)
