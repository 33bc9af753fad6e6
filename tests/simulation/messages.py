"""Signed commands over a message broker that keeps, repeats, forges and garbles them.

The receiver is the product's wire; the sender signs by a second implementation, knows of
every message whether it may be obeyed, and judges the answer (I19).
"""

import base64
import contextlib
import contextvars
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.telemetry.command_wire import CommandWire
from daemon.telemetry.commands import Verb
from daemon.telemetry.controls import Controls
from daemon.telemetry.hub import Hub
from daemon.telemetry.mqtt_client import MqttParts
from daemon.telemetry.nonces import Nonces
from domain.clock import Clock
from execution.desk import Desk
from tests.simulation.account import ACCOUNT
from tests.simulation.faults import Faults
from tests.simulation.processes import Crash, Process

TOPIC = "openbell/command"
# Class -> how a message differs from one that must be obeyed.
_KINDS = {
    "mqtt.retained": "retained",
    "mqtt.forged": "forged",
    "mqtt.altered": "altered",
    "mqtt.replayed": "replayed",
    "mqtt.skewed": "skewed",
    "mqtt.garbage": "garbage",
    "mqtt.command": "",
}
MESSAGES = tuple(_KINDS)

Answer = Mapping[str, Any]


class Receiver:
    """The command wire of one life of the daemon."""

    def __init__(
        self, process: Process, desk: Desk, *, clock: Clock, directory: Path, keys: list[str]
    ) -> None:
        self._process = process
        self._answers: list[Answer] = []
        self._context = contextvars.copy_context()
        hub = Hub(clock)
        self.told: list[str] = []
        """The kinds of what the operator was told."""
        hub.listen(lambda notice: self.told.append(notice.kind))
        self._controls = Controls(desk, hub)
        parts = SimpleNamespace(
            account=ACCOUNT,
            config=SimpleNamespace(mqtt=SimpleNamespace(command_public_keys=keys)),
            clock=clock,
            controls=self._controls,
            hub=hub,
            meters=mock.MagicMock(),
            topic=lambda name: f"openbell/{name}",
        )
        self._wire = CommandWire(
            cast("MqttParts", parts),
            "command",
            verbs=frozenset(Verb),
            nonces=Nonces(directory / "mqtt-nonces.json"),
            answer=self._answers.append,
            resend=lambda: None,
        )

    def take(self, payload: bytes, *, is_retained: bool) -> bool | None:
        """Hand a message over; return whether it was obeyed, None where nobody is left to."""
        self._answers.clear()
        faults_before = self._process.disk_faults
        with contextlib.suppress(Crash):
            self._context.run(self._wire.receive, payload, is_retained=is_retained)
        if self._process.is_dead:
            return None
        is_obeyed = any(answer["accepted"] and not answer["problem"] for answer in self._answers)
        # What cannot be remembered as seen may be refused.
        return None if not is_obeyed and self._process.disk_faults > faults_before else is_obeyed

    async def settled(self) -> None:
        """Wait for kills under way, as the daemon does before it ends."""
        await self._controls.settled()


class Sender:
    """Who may command, and who would like to."""

    def __init__(self, faults: Faults, now: Callable[[], dt.datetime]) -> None:
        self._faults = faults
        self._now = now
        self._key = _key(f"{faults.seed}:operator")
        self._other = _key(f"{faults.seed}:stranger")
        self._numbers = 0
        self._obeyed: list[bytes] = []

    @property
    def keys(self) -> list[str]:
        """Public keys that the daemon knows."""
        return [base64.b64encode(self._key.public_key().public_bytes_raw()).decode()]

    def deliver(self, receiver: Receiver, fault: str) -> list[tuple[str, str]]:
        """Send one message of a kind; return what was wrong about the answer."""
        kind = _KINDS[fault]
        if kind == "replayed":
            # At once, as a queue that delivers at least once does: by age it would be fresh.
            if found := self.deliver(receiver, "mqtt.command"):
                return found
            if not self._obeyed:
                return []
        payload = self._payload(kind)
        is_obeyed = receiver.take(payload, is_retained=kind == "retained")
        if is_obeyed:
            self._obeyed.append(payload)
        if is_obeyed and kind:
            return [("I19", f"a {kind} command was obeyed: {payload[:120]!r}")]
        if is_obeyed is False and not kind:
            return [("I19", f"a proper command was refused: {payload[:120]!r}")]
        return []

    def kill(self, receiver: Receiver) -> None:
        """Send a proper kill, whatever becomes of it."""
        receiver.take(self._payload("", verb="kill"), is_retained=False)

    def _payload(self, kind: str, *, verb: str = "") -> bytes:
        if kind == "replayed":
            return self._obeyed[-1]
        if kind == "garbage":
            frames = [b"", b"\xff\xfe", b"[" * 5000, b"{}", b"x" * 9000, b'{"verb":"kill"}']
            return self._faults.pick("mqtt.garbage", frames)
        self._numbers += 1
        verbs = ["kill", "pause", "pause", "reduce_only", "status"]
        document = {
            "v": 1,
            "account": ACCOUNT if kind != "altered" else "SIM0000099",
            "verb": verb or self._faults.pick("mqtt.verb", verbs),
            "reason": "a person said so",
            "issued_at": (self._now() - self._age(kind)).isoformat(),
            "nonce": f"nonce{self._numbers:016d}",
        }
        key = self._other if kind == "forged" else self._key
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        document["sig"] = base64.b64encode(key.sign(f"{TOPIC}\n{text}".encode())).decode()
        return json.dumps(document).encode()

    def _age(self, kind: str) -> dt.timedelta:
        if kind != "skewed":
            return dt.timedelta()
        return dt.timedelta(seconds=self._faults.pick("mqtt.skewed", [-600, 31, 600, 86_400]))


def _key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
