"""Tell the GPU side how much of it is needed: none while the market is closed.

One POST to ``forecasts.remote.scaling.url`` with a bearer token and a small document.
What stands behind it (a serverless endpoint, a KServe or PAI-EAS gateway, ten lines of
one's own) sets the number of replicas.  No command is run here.
"""

import asyncio
import contextlib
import datetime as dt
import json
import statistics
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

import structlog

from daemon.config import Config, ScalingConfig, Schedule, state_directory
from daemon.credentials import SCALE_TOKEN, Credentials
from daemon.schedule import day_plan
from daemon.sources.budget import GPU, ForecastBudget
from domain.clock import Clock
from domain.errors import ConfigError, OpenbellError, StateError
from domain.market import Session
from domain.secrets import Secret
from marketdata.base import SessionCalendar
from state.costs import Costs
from state.reader import Reader
from state.store import Store
from transport.failures import TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.replay_loop import ReplayLoop

Note = Callable[[str, str], None]
_LOOK_EVERY = dt.timedelta(minutes=15)
_RETRY_AFTER = dt.timedelta(minutes=5)
_FAREWELL_SECONDS = 5.0
_SESSIONS_A_YEAR = 252
_OK = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many replicas are needed, and why."""

    replicas: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerParts:
    """What the scaler works with; ``volatility`` is annual, in percent, None when unknown."""

    settings: ScalingConfig
    schedule: Schedule
    client: BoundedClient
    path: str
    calendar: SessionCalendar
    clock: Clock
    costs: Costs
    budget: ForecastBudget
    volatility: Callable[[], float | None]
    note: Note


class GpuScaler:
    """Watches the calendar and tells the other side what changed.

    ``told`` is what it surely knows, None where that is not known.
    """

    def __init__(self, parts: ScalerParts) -> None:
        self._parts = parts
        self.told: Need | None = None
        # What was asked without an answer may run, and costs as if it did.
        self._may_run = 0
        self._booked_until = parts.clock.now()
        self._log = structlog.get_logger("scaling")

    async def run(self) -> None:
        """Look until cancelled; at the end ask for nothing any more."""
        try:
            while True:
                await self._parts.clock.sleep((await self._looked()).total_seconds())
        finally:
            # Who will tell it later?  A GPU that nobody needs costs money all night.
            with contextlib.suppress(StateError):
                self._book()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._tell(Need(replicas=0, reason="the daemon stopped"))

    async def _looked(self) -> dt.timedelta:
        try:
            return await self.look()
        except Exception as exc:  # noqa: BLE001 - what ends one look must not leave a GPU running
            problem = str(exc) if isinstance(exc, OpenbellError) else repr(exc)
            # Told also where it cannot be stored.
            with contextlib.suppress(StateError):
                self._parts.note("gpu.unscaled", f"what is needed was not looked up: {problem}")
            return _RETRY_AFTER

    async def look(self) -> dt.timedelta:
        """Book what runs, tell what changed; return how long nothing can change."""
        now = self._parts.clock.now()
        self._book()
        need, until = self.need(now)
        is_heard = True
        if self.told is None or self.told.replicas != need.replicas:
            is_heard = await self._tell(need)
        if not is_heard:
            return _RETRY_AFTER
        return min(until - now, _LOOK_EVERY) if need.replicas else until - now

    def need(self, now: dt.datetime) -> tuple[Need, dt.datetime]:
        """Return what is needed at a moment, and until when at most that holds."""
        settings = self._parts.settings
        begins, ends = self._window(self._parts.calendar.next_session(now))
        if now < begins:
            return Need(replicas=0, reason="the market is closed"), begins
        if (refusal := self._parts.budget.refusal(0)) is not None:
            return Need(replicas=0, reason=refusal), ends
        volatility = self._parts.volatility()
        if volatility is not None and volatility >= settings.high_volatility_pct:
            told = f"volatility {volatility:.0f} % a year"
            return Need(replicas=settings.high_volatility_replicas, reason=told), ends
        return Need(replicas=settings.replicas, reason="a session"), ends

    def _window(self, session: Session) -> tuple[dt.datetime, dt.datetime]:
        first = day_plan(session, self._parts.schedule)[0].at
        return first - dt.timedelta(minutes=self._parts.settings.lead_minutes), session.close

    async def _tell(self, need: Need) -> bool:
        document = {
            "replicas": need.replicas,
            "reason": need.reason,
            "at": self._parts.clock.now().isoformat(),
        }
        problem = await self._post(need, json.dumps(document).encode())
        if problem:
            self.told = None
            self._parts.note(
                "gpu.unscaled",
                f"{need.replicas} replicas were asked for ({need.reason}): {problem}",
            )
            return False
        self._log.info("gpu.scaled", replicas=need.replicas, reason=need.reason)
        self.told, self._may_run = need, need.replicas
        return True

    async def _post(self, need: Need, body: bytes) -> str:
        loop = asyncio.get_running_loop()
        # Another process answers in real time, whatever the clock here.
        longest = self._parts.settings.timeout_seconds + 1
        held = loop.hold(longest) if isinstance(loop, ReplayLoop) else contextlib.nullcontext()
        try:
            with held:
                reply = await self._parts.client.request("POST", self._parts.path, body=body)
        except TransportError as exc:
            if exc.was_sent:
                self._may_run = max(self._may_run, need.replicas)
            return str(exc)
        return "" if reply.status in _OK else f"status {reply.status}"

    def _book(self) -> None:
        """Book what ran since the last look, or since the last that could be booked."""
        now, since = self._parts.clock.now(), self._booked_until
        rate = Decimal(repr(self._parts.settings.usd_per_replica_hour))
        if self._may_run and rate > 0 and now > since:
            hours = Decimal(repr((now - since).total_seconds())) / 3600
            amount = (rate * self._may_run * hours).quantize(Decimal("0.0001"))
            detail = f"{self._may_run} replicas for {60 * hours:.1f} minutes"
            self._parts.costs.book(GPU, amount, now, detail)
        self._booked_until = now


@contextlib.asynccontextmanager
async def gpu_scaling(
    config: Config,
    store: Store,
    *,
    clock: Clock,
    calendar: SessionCalendar,
    time_scale: float,
    note: Note,
) -> AsyncIterator[None]:
    """Run the scaler beside the daemon, where the configuration has one.

    Raises:
        ConfigError: the address or its token cannot be used.
    """
    settings = config.forecasts.remote.scaling
    if not settings.url:
        yield
        return
    client, path = _client(config, time_scale)
    scaler = GpuScaler(
        ScalerParts(
            settings=settings,
            schedule=config.schedule,
            client=client,
            path=path,
            calendar=calendar,
            clock=clock,
            costs=Costs(store),
            budget=ForecastBudget(store, config.costs, clock=clock),
            volatility=lambda: forecast_volatility(config),
            note=note,
        )
    )
    async with contextlib.aclosing(client):
        task = asyncio.create_task(scaler.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _client(config: Config, time_scale: float) -> tuple[BoundedClient, str]:
    settings = config.forecasts.remote.scaling
    parts = urlsplit(settings.url)
    is_loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback):
        raise ConfigError("forecasts.remote.scaling.url: must be https, or http on loopback")
    token = Credentials.of(config).require(SCALE_TOKEN)
    seconds = settings.timeout_seconds
    client = BoundedClient(
        HttpSettings(
            base_url=f"{parts.scheme}://{parts.netloc}",
            deadlines=Deadlines(read_seconds=seconds, total_seconds=seconds),
            max_connections=1,
            time_scale=time_scale,
        ),
        {"Authorization": Secret(f"Bearer {token.reveal()}")},
    )
    query = f"?{parts.query}" if parts.query else ""
    return client, f"{parts.path or '/'}{query}"


def forecast_volatility(config: Config) -> float | None:
    """Return the median volatility of the last decision's forecasts, percent a year."""
    try:
        with Reader(state_directory(config)) as reader:
            rows = reader.forecasts()
    except StateError:
        return None
    annual = [row["volatility"] * (_SESSIONS_A_YEAR / row["horizon"]) ** 0.5 for row in rows]
    return 100 * statistics.median(annual) if annual else None
