"""MQTT: telemetry out, signed commands in.  A broker that is away never touches trading."""

import asyncio
import itertools
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiomqtt
import structlog

from daemon.config import Config, MqttConfig, state_directory
from daemon.telemetry.commands import Command, CommandDesk, CommandRefused, Verb
from daemon.telemetry.controls import Controls
from daemon.telemetry.hub import Hub, Notice
from daemon.telemetry.messages import TelemetryReader
from daemon.telemetry.metrics import Meters
from daemon.telemetry.nonces import Nonces
from daemon.telemetry.outbox import Message, Outbox
from domain.clock import Clock
from domain.errors import OpenbellError, StateError
from domain.secrets import Secret

_PUBLISH_SECONDS = 5.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_HEARTBEAT_SECONDS = 10.0
_ALERT_AFTER_REFUSALS = 3
# Whoever floods the topic must not push a kill out of the queue.
_MOST_INCOMING = 20_000
_REFUSALS_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttParts:
    """What the client works with.

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


class MqttBridge:
    """One connection, kept; an outbox before it."""

    def __init__(self, parts: MqttParts) -> None:
        """Prepare; nothing connects yet.

        Raises:
            ConfigError: a public key cannot be used.
            StorageError: the nonces cannot be read.
        """
        self._parts = parts
        self._settings: MqttConfig = parts.config.mqtt
        self._prefix = self._settings.topic_prefix.strip("/")
        directory = state_directory(parts.config)
        self._reader = TelemetryReader(directory, account_tail=parts.account[-4:])
        self._desk = CommandDesk(
            account=parts.account,
            topic=self.topic("command"),
            keys=self._settings.command_public_keys,
            nonces=Nonces(directory / "mqtt-nonces.json"),
            clock=parts.clock,
        )
        self.outbox = Outbox(dropped=parts.meters.mqtt_dropped.inc)
        self._numbers = itertools.count(1)
        self._refusals = 0
        self._is_connected = False
        self._log = structlog.get_logger("mqtt")
        parts.hub.listen(self._hear)

    def topic(self, name: str) -> str:
        """Return a full topic."""
        return f"{self._prefix}/{name}"

    async def run(self) -> None:
        """Stay connected until cancelled; a broker that is away is tried ever more slowly."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_state())
            group.create_task(self._beat())
            group.create_task(self._stay_connected())

    async def farewell(self) -> None:
        """Say that the daemon ends, if somebody listens; for the end, after ``run``."""
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS * self._parts.patience):
                async with self._client(is_brief=True) as client:
                    await client.publish(self.topic("status"), _OFFLINE, qos=1, retain=True)
        except (aiomqtt.MqttError, TimeoutError):
            self._log.info("mqtt.farewell_unheard")

    async def _stay_connected(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self._client() as client:
                    pause = _FIRST_PAUSE_SECONDS
                    await self._serve(client)
            except (aiomqtt.MqttError, TimeoutError) as exc:
                self._log.info("mqtt.away", reason=str(exc) or type(exc).__name__)
            finally:
                self._connected(is_connected=False)
            await self._parts.clock.sleep(pause * self._parts.pace)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _client(self, *, is_brief: bool = False) -> aiomqtt.Client:
        parts = self._parts
        name = f"openbell-{parts.account[-4:]}{'-end' if is_brief else ''}"
        return aiomqtt.Client(
            self._settings.host,
            self._settings.port,
            identifier=name,
            username=parts.user.reveal() if parts.user else None,
            password=parts.password.reveal() if parts.password else None,
            tls_context=ssl.create_default_context() if self._settings.tls else None,
            will=None if is_brief else aiomqtt.Will(self.topic("status"), _OFFLINE, 1, True),
            timeout=_PUBLISH_SECONDS * parts.patience,
            max_queued_incoming_messages=_MOST_INCOMING,
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        self._connected(is_connected=True)
        self._tell_state(self._reader.everything)
        tasks = [
            asyncio.create_task(self._publish_for_ever(client)),
            asyncio.create_task(self._listen(client)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish_for_ever(self, client: aiomqtt.Client) -> None:
        while True:
            key, message = await self.outbox.take()
            try:
                await client.publish(
                    message.topic, message.payload, qos=1, retain=message.is_retained
                )
            except BaseException:
                self.outbox.give_back(key, message)
                raise
            self._parts.meters.mqtt_sent.inc()

    async def _listen(self, client: aiomqtt.Client) -> None:
        if not self._settings.command_public_keys:
            return
        await client.subscribe(self.topic("command"), qos=1)
        async for message in client.messages:
            self.receive(bytes(message.payload), is_retained=bool(message.retain))

    def receive(self, payload: bytes, *, is_retained: bool) -> None:
        """Obey or refuse one message from the command topic, and answer it."""
        try:
            command = self._desk.accept(payload, is_retained=is_retained)
            answer = self._obey(command)
        except CommandRefused as exc:
            self._refused(str(exc))
            return
        self._refusals = 0
        self._parts.meters.mqtt_commands.labels("obeyed").inc()
        self._send("command/result", answer)

    def _obey(self, command: Command) -> Mapping[str, Any]:
        reason = f"mqtt: {command.reason}"
        problem = ""
        try:
            if command.verb is Verb.KILL:
                self._parts.controls.kill(reason)
            elif command.verb in {Verb.PAUSE, Verb.REDUCE_ONLY}:
                self._parts.controls.pause(reason)
            else:
                self._tell_state(self._reader.everything)
        except OpenbellError as exc:
            problem = str(exc)
        return {
            "nonce": command.nonce,
            "verb": command.verb.value,
            "accepted": True,
            "problem": problem,
        }

    def _refused(self, reason: str) -> None:
        self._refusals += 1
        self._parts.meters.mqtt_commands.labels("refused").inc()
        if self._refusals <= _REFUSALS_TOLD:
            self._log.warning("command.refused", reason=reason)
        self._send("command/result", {"accepted": False, "problem": reason})
        if self._refusals == _ALERT_AFTER_REFUSALS:
            self._parts.hub.alert(
                "command.rejected", f"{self._refusals} messages in a row were refused: {reason}"
            )

    def _hear(self, notice: Notice) -> None:
        document = {
            "kind": notice.kind,
            "text": notice.text,
            "symbol": notice.symbol,
            "at": notice.at.isoformat(),
            "urgent": notice.is_urgent,
        }
        # Alerts do not replace one another; the bound on the outbox holds for them too.
        self._send("alerts", document, is_unique=True)

    async def _watch_state(self) -> None:
        pace = self._parts.pace
        with self._parts.hub.waker() as waker:
            while True:
                await waker.wait()
                waker.clear()
                self._tell_state(self._reader.changed)
                await self._parts.clock.sleep(pace)

    async def _beat(self) -> None:
        while True:
            document = {"at": self._parts.clock.now().isoformat(), "seq": next(self._numbers)}
            self._send("heartbeat", document)
            await self._parts.clock.sleep(_HEARTBEAT_SECONDS * self._parts.pace)

    def _tell_state(self, read: Callable[[], Mapping[str, Any]]) -> None:
        try:
            documents = read()
        except StateError as exc:
            self._log.info("mqtt.unread", reason=str(exc))
            return
        for name, document in documents.items():
            self._send(name, document, is_retained=name == "status")

    def _send(
        self, name: str, document: Any, *, is_retained: bool = False, is_unique: bool = False
    ) -> None:
        payload = json.dumps(document, separators=(",", ":")).encode()
        message = Message(topic=self.topic(name), payload=payload, is_retained=is_retained)
        key = f"{message.topic}#{next(self._numbers)}" if is_unique else None
        self.outbox.put(message, key=key)

    def _connected(self, *, is_connected: bool) -> None:
        if is_connected != self._is_connected:
            self._is_connected = is_connected
            self._log.info("mqtt.connected" if is_connected else "mqtt.disconnected")
        self._parts.meters.mqtt_connected.set(is_connected)


_OFFLINE = b'{"state":"offline"}'
