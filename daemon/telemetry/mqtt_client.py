"""Connections to the message broker: how one is made, and how one is kept."""

import asyncio
import ssl
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiomqtt
import structlog

from daemon.config import Config
from daemon.telemetry.controls import Controls
from daemon.telemetry.hub import Hub
from daemon.telemetry.metrics import Meters
from domain.clock import Clock
from domain.secrets import Secret

PUBLISH_SECONDS = 5.0
OFFLINE = b'{"state":"offline"}'
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0

MakeClient = Callable[[], aiomqtt.Client]
Serve = Callable[[aiomqtt.Client], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttParts:
    """What the connections work with.

    ``pace`` is the number of loop seconds in a second between two tellings, ``patience``
    that in a second of waiting for the wire.
    """

    config: Config
    account: str
    user: Secret | None
    password: Secret | None
    controls: Controls
    hub: Hub
    meters: Meters
    clock: Clock
    pace: float
    patience: float

    def topic(self, name: str) -> str:
        """Return a full topic."""
        return f"{self.config.mqtt.topic_prefix.strip('/')}/{name}"

    @property
    def _home(self) -> str:
        # Of two clients with one name the broker drops the first: accounts may end alike.
        return f"{zlib.crc32(self.topic('').encode()):08x}"

    def client(
        self,
        suffix: str,
        *,
        will: aiomqtt.Will | None = None,
        queue_type: Callable[[int], object] | None = None,
    ) -> aiomqtt.Client:
        """Prepare one connection; its name at the broker ends in ``suffix``."""
        settings = self.config.mqtt
        return aiomqtt.Client(
            settings.host,
            settings.port,
            identifier=f"openbell-{self.account[-4:]}-{self._home}{suffix}",
            username=self.user.reveal() if self.user else None,
            password=self.password.reveal() if self.password else None,
            tls_context=ssl.create_default_context() if settings.tls else None,
            will=will,
            queue_type=queue_type,  # type: ignore[arg-type]
            timeout=PUBLISH_SECONDS * self.patience,
        )


async def stay_connected(
    parts: MqttParts, make: MakeClient, serve: Serve, *, lost: Callable[[], None]
) -> None:
    """Serve one connection after another until cancelled, ever more slowly while there is none.

    Args:
        parts: tells how long a pause is.
        make: prepares a connection.
        serve: works on an open one until it breaks.
        lost: told after each that ended, also one that never opened.
    """
    log = structlog.get_logger("mqtt")
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            async with make() as client:
                heed_cancellation()
                pause = _FIRST_PAUSE_SECONDS
                await serve(client)
        except (aiomqtt.MqttError, TimeoutError) as exc:
            # A goodbye that fails comes in the place of the cancellation that led to it.
            heed_cancellation()
            log.info("mqtt.away", reason=str(exc) or type(exc).__name__)
        finally:
            lost()
        await parts.clock.sleep(pause * parts.pace)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def heed_cancellation() -> None:
    """Raise the cancellation that a call of aiomqtt may have swallowed; to be called after each.

    It waits with ``asyncio.wait_for``, which on Python 3.11 returns a result that comes in the
    same moment as a cancellation, and drops the latter: whoever goes on then never ends.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
