"""Signed commands in, each over a connection of its own.

The broker keeps a queue for each connection and drops from a full one, so what others
send must not lie in the same queue as a kill: ``command/kill`` has its own, and a flood
of ``command`` cannot delay it.  On either, a message is judged as it is read off the
wire: noise is never queued here.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import aiomqtt
import structlog

from daemon.telemetry.commands import Command, CommandDesk, CommandRefused, Verb
from daemon.telemetry.hub import without_figures
from daemon.telemetry.mqtt_client import MqttParts, heed_cancellation, stay_connected
from daemon.telemetry.nonces import Nonces
from domain.errors import OpenbellError

Answer = Callable[[Mapping[str, Any]], None]
_ALERT_AFTER_REFUSALS = 3
_REFUSALS_TOLD = 3
# Whoever keeps sending it, an old command is no news each time.
_QUIET_SECONDS = 900.0


class CommandWire:
    """Listens on one command topic."""

    def __init__(
        self,
        parts: MqttParts,
        name: str,
        *,
        verbs: frozenset[Verb],
        nonces: Nonces,
        answer: Answer,
        resend: Callable[[], None],
    ) -> None:
        """Prepare; nothing connects yet.

        Args:
            parts: what the connections work with.
            name: the topic, without its prefix.
            verbs: what is obeyed on it.
            nonces: shared by all wires: a command is obeyed once on any of them.
            answer: publishes what became of a command.
            resend: publishes the whole state again, for ``status``.

        Raises:
            ConfigError: a public key cannot be used.
        """
        self._parts = parts
        self._topic = parts.topic(name)
        self._suffix = f"-{name.replace('/', '-')}"
        self._desk = CommandDesk(
            account=parts.account,
            topic=self._topic,
            keys=parts.config.mqtt.command_public_keys,
            verbs=verbs,
            nonces=nonces,
            clock=parts.clock,
        )
        self._answer = answer
        self._resend = resend
        self._refusals = 0
        self._alarmed: dict[str, float] = {}
        self.is_listening = asyncio.Event()
        self._log = structlog.get_logger("mqtt")

    async def run(self) -> None:
        """Listen until cancelled."""
        await stay_connected(self._parts, self._client, self._serve, lost=self.is_listening.clear)

    def _client(self) -> aiomqtt.Client:
        return self._parts.client(self._suffix, queue_type=self._queue)

    def _queue(self, maxsize: int) -> asyncio.Queue[aiomqtt.Message]:
        return _JudgedOnArrival(self._receive)

    async def _serve(self, client: aiomqtt.Client) -> None:
        await client.subscribe(self._topic, qos=1)
        heed_cancellation()
        self.is_listening.set()
        self._log.info("mqtt.listening", topic=self._topic)
        async for _ in client.messages:
            # Nothing comes out of the queue; this ends with the connection.
            continue

    def _receive(self, message: aiomqtt.Message) -> None:
        self.receive(bytes(message.payload), is_retained=bool(message.retain))

    def receive(self, payload: bytes, *, is_retained: bool) -> None:
        """Obey or refuse one message, and answer it."""
        try:
            command = self._desk.accept(payload, is_retained=is_retained)
        except CommandRefused as exc:
            self._refused(exc)
            return
        self._refusals = 0
        answer = self._obey(command)
        self._parts.meters.mqtt_commands.labels("obeyed").inc()
        self._answer(answer)

    def _obey(self, command: Command) -> Mapping[str, Any]:
        reason = f"mqtt: {command.reason}"
        problem = ""
        try:
            if command.verb is Verb.KILL:
                self._parts.controls.kill(reason)
            elif command.verb in {Verb.PAUSE, Verb.REDUCE_ONLY}:
                self._parts.controls.pause(reason)
            else:
                self._resend()
        except OpenbellError as exc:
            problem = str(exc)
        return {
            "nonce": command.nonce,
            "verb": command.verb.value,
            "accepted": True,
            "problem": problem,
        }

    def _refused(self, refusal: CommandRefused) -> None:
        self._refusals += 1
        self._parts.meters.mqtt_commands.labels("refused").inc()
        is_told = self._refusals <= _REFUSALS_TOLD
        if is_told:
            self._log.warning("command.refused", reason=str(refusal))
        # Whoever can sign always hears why; a flood of noise is not answered one by one.
        if is_told or refusal.is_signed:
            self._answer({"accepted": False, "problem": str(refusal)})
        if refusal.is_urgent and self._is_news(without_figures(str(refusal))):
            self._parts.hub.alert(
                "command.rejected",
                f"a message on {self._topic} did nothing: {refusal}; to stop, use openbell kill",
            )
        if self._refusals == _ALERT_AFTER_REFUSALS:
            self._parts.hub.alert(
                "command.rejected", f"{self._refusals} messages in a row were refused: {refusal}"
            )

    def _is_news(self, gist: str) -> bool:
        now = self._parts.clock.monotonic()
        if now - self._alarmed.get(gist, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return False
        self._alarmed[gist] = now
        return True


class _JudgedOnArrival(asyncio.Queue[aiomqtt.Message]):
    """A queue for aiomqtt that keeps nothing: every message is handed on as it is read."""

    def __init__(self, receive: Callable[[aiomqtt.Message], None]) -> None:
        super().__init__()
        self._receive = receive

    def put_nowait(self, item: aiomqtt.Message) -> None:
        self._receive(item)
