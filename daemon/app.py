"""From a configuration to a running daemon: open everything, let it live, close everything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from daemon import log_setup
from daemon.assembly import Parts, assemble, cycle_settings
from daemon.books import open_books
from daemon.config import Config, state_directory
from daemon.connection import connect
from daemon.credentials import Credentials
from daemon.embedded import running_endpoint
from daemon.health.service import Notifier
from daemon.lifecycle import Daemon, Ending
from daemon.session.broker_calendar import traded_sessions
from daemon.sources.engines import open_engines
from daemon.sources.forecasting import forecast_engine, local_engine
from daemon.sources.scaling import gpu_scaling
from daemon.telemetry.telling import Telling
from daemon.telemetry.vitals import Vitals
from domain.errors import InUse, RestartNeeded, StorageError, first_cause
from execution.desk import Desk
from marketdata.session_calendar import NyseCalendar
from state.facts import Facts
from state.store import Store


def _nothing() -> None:
    """Nobody asks whether people are told."""


async def run_daemon(
    config: Config,
    *,
    sessions: int | None = None,
    is_waiting: bool = False,
    stop: asyncio.Event | None = None,
    notifier: Notifier | None = None,
    heard: Callable[[], None] = _nothing,
) -> Ending:
    """Build the daemon and let it live.

    Args:
        config: everything that can be set.
        sessions: how many to live; None for ever.
        is_waiting: after them stay up, with time standing still.
        stop: set it to end soon and cleanly.
        notifier: tells the service manager.
        heard: called once people hear from here what ends the daemon.

    Raises:
        OpenbellError: it cannot start, or cannot go on.
    """
    # Before anything is opened: a bad section must leave nothing behind.
    settings = cycle_settings(config)
    local_engine(config)
    if running_endpoint(config) is not None:
        raise InUse(f"{state_directory(config)} is in use by a running daemon; stop that one first")
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
                forecast_engine(
                    config, store, clock, time_scale=scale, note=desk.note
                ) as forecaster,
                gpu_scaling(
                    config,
                    store,
                    clock=clock,
                    calendar=NyseCalendar(),
                    time_scale=scale,
                    note=desk.note,
                ),
                open_engines(
                    config, store, clock=clock, calendar=NyseCalendar(), time_scale=scale
                ) as engines,
            ):
                life = assemble(
                    Parts(
                        config=config,
                        settings=settings,
                        connection=connection,
                        desk=desk,
                        calendar=traded_sessions(NyseCalendar(), Facts(store), clock),
                        engines=engines,
                        forecaster=forecaster,
                        telling=telling,
                    )
                )
                daemon = Daemon(life)
                async with (
                    _lasting_halt(desk),
                    telling.open(desk, life.trade.reconciler),
                    _obeying(stop, daemon),
                    telling.errors.restarting(desk, telling.vitals, stop=daemon.stop),
                    _restartable(desk, telling.vitals),
                ):
                    heard()
                    ending = await daemon.run(sessions=sessions, is_waiting=is_waiting)
                    return Ending.RESTART if telling.errors.is_restarting else ending
        finally:
            store.close()


@contextlib.asynccontextmanager
async def _lasting_halt(desk: Desk) -> AsyncIterator[None]:
    """Write a halt down that no disk took, before its life ends: the next one goes by the file.

    Raises:
        StorageError: the disk still refuses; nothing may begin anew in this process.
    """
    try:
        yield
    finally:
        if desk.is_halted:
            desk.latch.engage("a halt or a kill that no disk had taken", desk.clock.now())
            desk.is_halted = False


@contextlib.asynccontextmanager
async def _restartable(desk: Desk, vitals: Vitals) -> AsyncIterator[None]:
    """Halt where a disk refuses that had served until then, and let a service manager begin again.

    The order path halts by itself; here is the same for all that is written beside it.
    """
    try:
        yield
    except (BaseExceptionGroup, StorageError) as exc:
        cause = first_cause(exc)
        if isinstance(cause, StorageError) and vitals.is_ready:
            desk.halt(f"storage: {cause}")
            raise RestartNeeded(f"{cause}; trading is halted") from exc
        raise


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
