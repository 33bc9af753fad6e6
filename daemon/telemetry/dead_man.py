"""A dead man's switch: an address outside is called while, and only while, progress is proven.

Whoever watches it (healthchecks.io and its like) raises the alarm when the calls stay
away: also when this host is off, or nobody is left here to tell anything.
"""

from urllib.parse import urlsplit

import structlog

from daemon.config import AlertsConfig
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock
from domain.errors import ConfigError
from transport.failures import TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings

_DEADLINES = Deadlines(connect_seconds=5, read_seconds=10, total_seconds=15)
_BODY_CAP_BYTES = 64 * 1024
_OK = range(200, 300)


class DeadMansSwitch:
    """Calls the address every few minutes; a call that fails is tried again at the next."""

    def __init__(
        self, settings: AlertsConfig, *, vitals: Vitals, clock: Clock, time_scale: float
    ) -> None:
        """Take the address apart.

        Raises:
            ConfigError: it is no http address.
        """
        parts = urlsplit(settings.heartbeat_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            # The address itself is what lets somebody call: it is not repeated.
            raise ConfigError("alerts.heartbeat_url: must be an http or https address")
        self._path = parts.path or "/"
        if parts.query:
            self._path += f"?{parts.query}"
        self._client = BoundedClient(
            HttpSettings(
                base_url=f"{parts.scheme}://{parts.netloc}",
                deadlines=_DEADLINES,
                body_cap_bytes=_BODY_CAP_BYTES,
                max_connections=1,
                time_scale=time_scale,
            ),
            {},
        )
        self._pause = settings.heartbeat_minutes * 60 * time_scale
        self._vitals = vitals
        self._clock = clock
        self._scale = time_scale
        self._log = structlog.get_logger("heartbeat")

    async def run(self) -> None:
        """Call until cancelled."""
        while True:
            await self.beat()
            await self._clock.sleep(self._pause)

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

    async def beat(self) -> bool:
        """Call once if all lives; tell whether it was heard."""
        problems = self._vitals.problems(time_scale=self._scale)
        if problems or not self._vitals.is_ready:
            self._log.info("heartbeat.withheld", reason="; ".join(problems) or "not ready")
            return False
        try:
            reply = await self._client.request("GET", self._path)
        except TransportError as exc:
            self._log.info("heartbeat.unheard", reason=exc.kind.value)
            return False
        if reply.status not in _OK:
            self._log.info("heartbeat.unheard", reason=f"status {reply.status}")
        return reply.status in _OK
