"""The end of the telling: whatever the message broker does, a cancellation ends it."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from daemon.config import load
from daemon.telemetry.hub import Hub
from daemon.telemetry.metrics import Meters
from daemon.telemetry.mqtt import MqttBridge
from daemon.telemetry.mqtt_client import MqttParts
from domain.clock import SystemClock
from tests.support.mosquitto import mosquitto
from tests.support.running import REPOSITORY, free_port
from tests.support.tools import tool


def bridge(port: int, meters: Meters) -> MqttBridge:
    clock = SystemClock()
    return MqttBridge(
        MqttParts(
            config=load(REPOSITORY / "config.toml"),
            account="PA3TEST00001",
            user=None,
            password=None,
            controls=cast(Any, None),
            hub=Hub(clock),
            meters=meters,
            clock=clock,
            # A heartbeat each millisecond: some message is always under way.
            pace=1e-4,
            patience=1.0,
        )
    )


async def test_a_cancellation_that_meets_the_confirmation_of_a_message_is_heeded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = free_port()
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("OPENBELL__MQTT__PORT", str(port))
    with mosquitto(tool("mosquitto"), tmp_path, port):
        for number in range(40):
            meters, sent = Meters(mode="paper"), asyncio.Event()
            monkeypatch.setattr(meters.mqtt_sent, "inc", sent.set)
            task = asyncio.create_task(bridge(port, meters).run())
            await sent.wait()
            await asyncio.sleep(number * 1e-4)
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.cancelled()
