"""MQTT: telemetry out, signed commands in.  A broker that is away never touches trading."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import aiomqtt
import structlog

from daemon.config import state_directory
from daemon.telemetry.command_wire import CommandWire
from daemon.telemetry.commands import Verb
from daemon.telemetry.hub import Notice
from daemon.telemetry.messages import TelemetryReader
from daemon.telemetry.mqtt_client import (
    OFFLINE,
    PUBLISH_SECONDS,
    MqttParts,
    heed_cancellation,
    stay_connected,
)
from daemon.telemetry.nonces import Nonces
from daemon.telemetry.outbox import Message, Outbox
from domain.errors import StateError

_HEARTBEAT_SECONDS = 10.0
_WIRES_SECONDS = 5.0


class MqttBridge:
    """One connection for what is told, with an outbox before it; others for commands."""

    def __init__(self, parts: MqttParts) -> None:
        """Prepare; nothing connects yet.

        Raises:
            ConfigError: a public key cannot be used.
            StorageError: the nonces cannot be read.
        """
        self._parts = parts
        directory = state_directory(parts.config)
        self._reader = TelemetryReader(directory, account_tail=parts.account[-4:])
        self._wires = self._command_wires(Nonces(directory / "mqtt-nonces.json"))
        self.outbox = Outbox(dropped=parts.meters.mqtt_dropped.inc)
        self._numbers, self._beats = itertools.count(1), itertools.count(1)
        self._is_connected = False
        self._log = structlog.get_logger("mqtt")
        parts.hub.listen(self._hear)

    def _command_wires(self, nonces: Nonces) -> tuple[CommandWire, ...]:
        if not self._parts.config.mqtt.command_public_keys:
            return ()
        topics = {"command": frozenset(Verb), "command/kill": frozenset({Verb.KILL})}
        return tuple(
            CommandWire(
                self._parts,
                name,
                verbs=verbs,
                nonces=nonces,
                answer=self._answer,
                resend=lambda: self._tell_state(self._reader.everything),
            )
            for name, verbs in topics.items()
        )

    async def run(self) -> None:
        """Stay connected until cancelled; a broker that is away is tried ever more slowly."""
        async with asyncio.TaskGroup() as group:
            for wire in self._wires:
                group.create_task(wire.run())
            group.create_task(self._watch_state())
            group.create_task(self._beat())
            group.create_task(
                stay_connected(self._parts, self._client, self._serve, lost=self._lost)
            )

    async def farewell(self) -> None:
        """Tell what still waits, and that the daemon ends; for the end, after ``run``."""
        seconds = PUBLISH_SECONDS * self._parts.patience
        try:
            # Together no longer: the service manager's patience with a stop is not ours alone.
            async with asyncio.timeout(seconds), self._parts.client("-end") as client:
                # What ended the daemon may be among it; but offline it is in any case.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds / 2):
                        await self._publish_what_waits(client)
                await client.publish(self._parts.topic("status"), OFFLINE, qos=1, retain=True)
        except (aiomqtt.MqttError, TimeoutError):
            self._log.info("mqtt.farewell_unheard")

    async def _publish_what_waits(self, client: aiomqtt.Client) -> None:
        while len(self.outbox):
            _, message = await self.outbox.take()
            await client.publish(message.topic, message.payload, qos=1, retain=message.is_retained)

    def _client(self) -> aiomqtt.Client:
        will = aiomqtt.Will(self._parts.topic("status"), OFFLINE, 1, True)
        return self._parts.client("", will=will)

    async def _serve(self, client: aiomqtt.Client) -> None:
        await self._wires_up()
        self._connected(is_connected=True)
        self._tell_state(self._reader.everything)
        await self._publish_for_ever(client)

    async def _wires_up(self) -> None:
        """Whoever reads "online" may command at once."""
        try:
            async with asyncio.timeout(_WIRES_SECONDS * self._parts.patience):
                for wire in self._wires:
                    await wire.is_listening.wait()
        except TimeoutError:
            self._log.warning("mqtt.deaf", reason="the command topics could not be subscribed to")

    def _lost(self) -> None:
        self._connected(is_connected=False)

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
            heed_cancellation()

    def _answer(self, document: Mapping[str, Any]) -> None:
        # Whoever commands hears what became of it, whatever is answered to others meanwhile.
        self._send("command/result", document, is_unique=True)

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
            document = {"at": self._parts.clock.now().isoformat(), "seq": next(self._beats)}
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
        message = Message(topic=self._parts.topic(name), payload=payload, is_retained=is_retained)
        key = f"{message.topic}#{next(self._numbers)}" if is_unique else None
        self.outbox.put(message, key=key)

    def _connected(self, *, is_connected: bool) -> None:
        if is_connected != self._is_connected:
            self._is_connected = is_connected
            self._log.info("mqtt.connected" if is_connected else "mqtt.disconnected")
        self._parts.meters.mqtt_connected.set(is_connected)
