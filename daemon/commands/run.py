"""``openbell run``: the daemon in the foreground."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import structlog

from daemon import event_loop
from daemon.app import run_daemon
from daemon.archive import archive_books
from daemon.command_line import Options
from daemon.config import Config, load, state_directory
from daemon.config_for_kill import read_for_kill
from daemon.connection import check_recorded
from daemon.credentials import Credentials
from daemon.health.service import Notifier
from daemon.lifecycle import Ending
from daemon.reload import keys_told, tightened
from daemon.telemetry.last_word import last_word
from domain.errors import (
    ConfigError,
    OpenbellError,
    ProviderRefused,
    ProviderUnavailable,
    RestartNeeded,
    StateInUse,
    first_cause,
)
from state.latch import Latch
from transport.replay_loop import ReplayLoop

# systemd sends SIGKILL after 60 s; what is cut off before is UNKNOWN and read at the next start.
_DRAIN_SECONDS = 45.0
# Within the service manager's patience for a sign of life, a start that waits for answers included.
_TRY_AGAIN_SECONDS = 10.0
_RARELY = 30
# As long as the service manager gives a first start.
_START_SECONDS = 180.0


def run(options: Options, *, sessions: int | None, is_waiting: bool) -> None:
    """Live until stopped, or for a number of sessions."""
    lives: _Lives | None = None
    try:
        config = load(options.config)
        check_recorded(config)
        lives = _Lives(options, config, sessions=sessions, is_waiting=is_waiting)
        event_loop.run(config, lives.run())
    except Exception as exc:
        if lives is None or not lives.is_telling:
            _tell_refusal(options, exc)
        raise


def _tell_refusal(options: Options, exc: Exception) -> None:
    """Nobody may look at an unattended host: who is to be told hears that nothing trades there."""
    # As the kill reads it, since what is wrong may be the configuration itself.
    urls = read_for_kill(options.config).config.alerts.urls
    why = str(exc) if isinstance(exc, OpenbellError) else repr(exc)
    begin = "the daemon does not start, so nothing trades"
    if isinstance(exc, StateInUse):
        # That one may be the daemon, and trade on.
        begin = "a start was refused beside another openbell that has the books"
    last_word(urls, "daemon.failed", f"{begin}: {why}")


def _tell_waiting(config: Config, why: str) -> None:
    """No life is up to tell it, and none may be for hours."""
    text = f"the daemon does not start, so nothing trades until it does: {why}; tried on and on"
    last_word(config.alerts.urls, "daemon.failed", text)


class _Lives:
    """One life after another: a replay that ended begins anew, a reload begins again.

    ``is_telling`` is true once a life tells people itself what ends it.
    """

    def __init__(
        self, options: Options, config: Config, *, sessions: int | None, is_waiting: bool
    ) -> None:
        self._options = options
        self._config = config
        self._sessions = sessions
        self._is_waiting = is_waiting
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._life: asyncio.Task[Ending] | None = None
        self._is_reload_wanted = False
        self._is_reloaded = False
        self.is_telling = False
        self._accepted = config
        self._keys = Credentials.of(config).known()
        self._log = structlog.get_logger("run")

    async def run(self) -> None:
        """Live until there is no next life."""
        # Over all lives: between two a signal would end the process, a reload as well.
        with self._signals():
            while await self._goes_on():
                pass

    async def _goes_on(self) -> bool:
        """Live one life; tell whether there is another."""
        self._stop = asyncio.Event()
        self._is_reload_wanted = False
        ending = await self._live()
        if self._is_stopped():
            return False
        if ending is Ending.RECORDING_ENDED and self._sessions is None:
            self._begin_anew()
        elif ending is Ending.RESTART and self._notifier.is_on:
            raise RestartNeeded("too much failed: restarting, see `openbell status`")
        elif ending is Ending.RESTART:
            self._log.warning("daemon.restarted")
        elif ending is not Ending.STOPPED or not self._is_reload_wanted:
            return False
        if self._is_reload_wanted:
            self._reload()
        return True

    def _is_stopped(self) -> bool:
        # A stop that comes in a life's last moment ends it no sooner, and is meant all the same.
        return self._stop.is_set() and not self._is_reload_wanted

    async def _live(self) -> Ending:
        """Live one life; where nobody looks, it waits for a broker that is away as it begins.

        It would end the process: a few such starts, and the service manager kills.  A power cut
        that takes the way out with it is as much as that, and so is a reload in an outage.
        """
        is_told = False
        while True:
            try:
                return await self._one_life()
            except ProviderRefused:
                raise
            except ProviderUnavailable as exc:
                if not (self._is_reloaded or self._notifier.is_on):
                    raise
                if not (is_told or self.is_telling):
                    _tell_waiting(self._config, str(exc))
                is_told = True
                why = str(exc)
            self._log.warning("daemon.waiting", reason=why)
            await self._rest(f"waiting for the broker: {why}")
            if self._stop.is_set():
                return Ending.STOPPED

    async def _rest(self, status: str) -> None:
        # A life that came so far that it told its end itself would tell it at each try.
        for _ in range(_RARELY if self.is_telling else 1):
            self._notifier.waiting(status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TRY_AGAIN_SECONDS):
                    await self._stop.wait()
            if self._stop.is_set():
                return

    async def _one_life(self) -> Ending:
        self.is_telling = False
        self._life = life = asyncio.ensure_future(
            run_daemon(
                self._config,
                sessions=self._sessions,
                is_waiting=self._is_waiting,
                stop=self._stop,
                notifier=self._notifier,
                heard=self._heard,
            )
        )
        feeding = asyncio.ensure_future(self._feed())
        try:
            return await life
        except asyncio.CancelledError:
            return Ending.DONE
        except BaseExceptionGroup as group:
            cause = first_cause(group)
            if isinstance(cause, OpenbellError | OSError):
                raise cause from group
            raise
        finally:
            feeding.cancel()

    async def _feed(self) -> None:
        """Give signs of life for a start that a reload began: it may wait for answers.

        The service manager still watches since the life before, and the heart beats later.
        """
        patience = self._notifier.watchdog_seconds
        if not self._is_reloaded or patience is None:
            return
        if isinstance(asyncio.get_running_loop(), ReplayLoop):
            # Its broker is in this process, and each sleep would move its time.
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while not self.is_telling:
                    self._notifier.beat(is_alive=True, is_ready=False, status="reloaded; starting")
                    await asyncio.sleep(patience / 4)

    def _heard(self) -> None:
        self.is_telling = True

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        scale = max(1.0, loop.speed) if isinstance(loop, ReplayLoop) else 1.0

        def end() -> None:
            if self._stop.is_set() and not self._is_reload_wanted:
                # The second time it is meant.
                self._cut_short()
                return
            self._is_reload_wanted = False
            self._notifier.stopping()
            self._stop.set()
            loop.call_later(_DRAIN_SECONDS * scale, self._cut_short)

        def reload() -> None:
            # Another one while the life ends: what was written since then holds as well.
            is_stopping = self._stop.is_set() and not self._is_reload_wanted
            if not is_stopping and self._is_acceptable():
                self._is_reload_wanted = True
                self._notifier.reloading()
                self._stop.set()

        handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _cut_short(self) -> None:
        if self._life is not None:
            self._life.cancel()

    def _is_acceptable(self) -> bool:
        """Refuse a reload that could not start: the running daemon goes on as it is."""
        try:
            fresh = load(self._options.config)
            tightened(self._config, fresh)
            Credentials.of(fresh).known()
        except ConfigError as exc:
            self._log.error("reload.refused", reason=str(exc))
            return False
        self._accepted = fresh
        return True

    def _reload(self) -> None:
        # As it was accepted: an edit since then must not end the daemon.
        self._config, told = tightened(self._config, self._accepted)
        self._is_reloaded = True
        before, self._keys = self._keys, Credentials.of(self._config).known()
        keys = keys_told(before, self._keys)
        self._notifier.send(f"STATUS=reloading; keys: {keys}")
        self._log.warning("daemon.reloaded", risk=list(told) or "unchanged", keys=keys)

    def _begin_anew(self) -> None:
        """Put the books of a finished recording away; the next life has a fresh account."""
        directory = state_directory(self._config)
        latch = Latch(directory).read()
        if latch.is_engaged:
            raise ConfigError(
                "the recording has ended and the kill latch is engaged; look at the books, then"
                f" remove {directory} to begin anew"
            )
        kept = archive_books(directory)
        self._log.warning("recording.ended", books=str(kept), next="a fresh account")
