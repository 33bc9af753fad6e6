"""Refused commands: who may command must hear that nothing was stopped, noise is only counted."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.telemetry.command_wire import CommandWire
from daemon.telemetry.commands import Verb
from daemon.telemetry.hub import Hub
from daemon.telemetry.mqtt_client import MqttParts
from daemon.telemetry.nonces import Nonces
from domain.clock import ManualClock
from tests.unit.daemon.test_mqtt_commands import ACCOUNT, NOW, PUBLIC, command, packed

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Listening:
    """A wire whose answers, alerts and obeyed kills can be looked at."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(NOW)
        self.alerts: list[str] = []
        self.answers: list[Mapping[str, Any]] = []
        self.controls = mock.MagicMock()
        hub = Hub(self.clock)
        hub.listen(lambda notice: self.alerts.append(f"{notice.kind}: {notice.text}"))
        parts = SimpleNamespace(
            account=ACCOUNT,
            config=SimpleNamespace(mqtt=SimpleNamespace(command_public_keys=[PUBLIC])),
            clock=self.clock,
            controls=self.controls,
            hub=hub,
            meters=mock.MagicMock(),
            topic=lambda name: f"openbell/{name}",
        )
        self._wire = CommandWire(
            cast("MqttParts", parts),
            "command",
            verbs=frozenset(Verb),
            nonces=Nonces(directory / "nonces.json"),
            answer=self.answers.append,
            resend=lambda: None,
        )

    def hear(self, document: Any, *, is_retained: bool = False) -> None:
        self._wire.receive(packed(document), is_retained=is_retained)


@pytest.mark.parametrize("document", [command(), command(verb="resume"), "whatever"])
def test_m03_m04_a_retained_command_is_told_at_once_and_does_nothing(
    tmp_path: Path, document: Any
) -> None:
    wire = Listening(tmp_path)

    wire.hear(document, is_retained=True)

    (told,) = wire.alerts
    assert told.startswith("command.rejected: a message on openbell/command did nothing: ")
    assert "retained" in told
    wire.controls.kill.assert_not_called()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issued_at": (NOW - dt.timedelta(seconds=600)).isoformat()}, "set the sender's clock"),
        ({"account": "PA3OTHER0001"}, "another account"),
        ({"verb": "resume"}, "is no verb"),
    ],
)
def test_m04_m08_a_signed_command_that_is_refused_is_told_at_once(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    wire = Listening(tmp_path)

    wire.hear(command(**changes))

    (told,) = wire.alerts
    assert why in told
    assert "openbell kill" in told
    wire.controls.kill.assert_not_called()


def test_m07_a_kill_that_is_delivered_twice_is_no_alarm(tmp_path: Path) -> None:
    wire = Listening(tmp_path)

    wire.hear(command())
    wire.hear(command())

    wire.controls.kill.assert_called_once_with("mqtt: drill")
    assert wire.answers[-1]["problem"] == "it was obeyed before"
    assert wire.alerts == []


def test_m05_noise_is_told_at_the_third_in_a_row_and_then_no_more(tmp_path: Path) -> None:
    wire = Listening(tmp_path)
    counts = []

    for _ in range(50):
        wire.hear(command(key=STRANGER))
        counts.append(len(wire.alerts))

    assert counts == [0, 0, *[1] * 48]
    assert len(wire.answers) == 3


def test_the_same_refusal_again_and_again_is_told_once_in_a_quarter_of_an_hour(
    tmp_path: Path,
) -> None:
    wire = Listening(tmp_path)
    stale = command(issued_at=(NOW - dt.timedelta(seconds=600)).isoformat())

    for _ in range(50):
        wire.hear(stale)
        wire.clock.advance(dt.timedelta(seconds=1))
    told = len(wire.alerts)
    wire.clock.advance(dt.timedelta(minutes=15))
    wire.hear(stale)

    # One for what it is, one for three in a row.
    assert told == 2
    assert len(wire.alerts) == 3


def test_a_signed_kill_behind_noise_that_is_refused_is_told_all_the_same(tmp_path: Path) -> None:
    wire = Listening(tmp_path)
    for _ in range(10):
        wire.hear(command(key=STRANGER))

    wire.hear(command(issued_at=(NOW - dt.timedelta(seconds=31)).isoformat()))

    assert "set the sender's clock" in wire.alerts[-1]
