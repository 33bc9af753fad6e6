"""The end of the telling: whatever the message broker does, a cancellation ends it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, cast

import aiomqtt
import pytest

from daemon.config import load
from daemon.telemetry.hub import Hub, Notice
from daemon.telemetry.metrics import Meters
from daemon.telemetry.mqtt import MqttBridge
from daemon.telemetry.mqtt_client import PUBLISH_SECONDS, MqttParts
from domain.clock import SystemClock
from tests.support.mosquitto import mosquitto
from tests.support.running import REPOSITORY, free_port
from tests.support.tools import tool


def bridge(port: int, meters: Meters, *, pace: float = 1e-4, patience: float = 1.0) -> MqttBridge:
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
            # By default a heartbeat each millisecond: some message is always under way.
            pace=pace,
            patience=patience,
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


async def test_two_daemons_share_a_message_broker_whatever_their_accounts_end_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port, lost = free_port(), asyncio.Event()
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("OPENBELL__MQTT__PORT", str(port))
    with mosquitto(tool("mosquitto"), tmp_path, port):
        tasks = []
        for prefix in ("paper", "trial"):
            monkeypatch.setenv("OPENBELL__MQTT__TOPIC_PREFIX", prefix)
            meters, sent = Meters(mode="paper"), asyncio.Event()
            monkeypatch.setattr(meters.mqtt_sent, "inc", sent.set)
            one = bridge(port, meters, pace=0.02)
            monkeypatch.setattr(one, "_lost", lost.set)
            tasks.append(asyncio.create_task(one.run()))
            await asyncio.wait_for(sent.wait(), 10)
        # Of two with one name the broker drops the first at once.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lost.wait(), 1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)


async def test_heartbeats_are_numbered_without_a_gap_whatever_else_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path / "state"))
    one = bridge(free_port(), Meters(mode="paper"), pace=0.001)
    told = []
    monkeypatch.setattr(one.outbox, "put", lambda message, **_: told.append(message))
    beating = asyncio.create_task(one._beat())
    while len(told) < 6:
        await asyncio.sleep(0.005)
        one._hear(Notice(kind="run.failed", text="", symbol=None, at=SystemClock().now()))
    beating.cancel()

    beats = [json.loads(one.payload) for one in told if one.topic.endswith("heartbeat")]
    assert [beat["seq"] for beat in beats] == list(range(1, len(beats) + 1))
    assert 2 <= len(beats) < len(told)


async def test_what_ended_the_daemon_is_told_before_it_says_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port, kinds = free_port(), ["kill.engaged", "trading_state.changed", "daemon.failed"]
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("OPENBELL__MQTT__PORT", str(port))
    with mosquitto(tool("mosquitto"), tmp_path, port):
        meters, sent = Meters(mode="paper"), asyncio.Event()
        monkeypatch.setattr(meters.mqtt_sent, "inc", sent.set)
        one = bridge(port, meters, pace=0.1)
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("openbell/#", qos=1)
            running = asyncio.create_task(one.run())
            await sent.wait()
            # As a daemon that a fault ends: what it led to, and in the same moment the end.
            for kind in kinds:
                one._hear(Notice(kind=kind, text="", symbol=None, at=SystemClock().now()))
            running.cancel()
            await asyncio.wait({running})
            await one.farewell()
            told = []
            async with asyncio.timeout(10):
                async for message in client.messages:
                    told.append(json.loads(bytes(message.payload)))
                    if told[-1] == {"state": "offline"}:
                        break

    assert [document["kind"] for document in told if "kind" in document][-3:] == kinds


async def test_a_message_broker_that_confirms_nothing_does_not_lengthen_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def takes_the_connection(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"\x20\x02\x00\x00")
        while await reader.read(100):
            pass
        writer.close()
        served.set()

    served = asyncio.Event()

    broker = await asyncio.start_server(takes_the_connection, "127.0.0.1", 0)
    port, patience = broker.sockets[0].getsockname()[1], 0.4
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("OPENBELL__MQTT__PORT", str(port))
    one = bridge(port, Meters(mode="paper"), patience=patience)
    one._hear(Notice(kind="daemon.failed", text="", symbol=None, at=SystemClock().now()))
    began = time.monotonic()

    await one.farewell()

    # The service manager kills after 60 s: 45 of them are the runs', 5 the alerts'.
    assert time.monotonic() - began < 1.6 * PUBLISH_SECONDS * patience
    broker.close()
    await asyncio.wait_for(served.wait(), 10)
