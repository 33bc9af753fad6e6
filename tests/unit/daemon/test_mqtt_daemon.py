"""A daemon beside a real Mosquitto: what it tells, whom it obeys, and what it does without one."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.telemetry.commands import to_sign
from tests.support.mosquitto import mosquitto
from tests.support.running import TOKEN, Running, free_port, running_daemon
from tests.support.tools import tool

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
TOPIC = "openbell/command"


@pytest.fixture
def program() -> str:
    return tool("mosquitto")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def broker(program: str, tmp_path: Path, port: int) -> Iterator[int]:
    with mosquitto(program, tmp_path, port):
        yield port


@contextlib.contextmanager
def daemon(
    directory: Path, port: int, *arguments: str, speed: float = 600, **environ: str
) -> Iterator[Running]:
    with running_daemon(
        directory,
        *arguments,
        speed=speed,
        OPENBELL__MQTT__ENABLED="true",
        OPENBELL__MQTT__PORT=str(port),
        OPENBELL__MQTT__COMMAND_PUBLIC_KEYS=json.dumps([PUBLIC]),
        **environ,
    ) as one:
        yield one


@contextlib.asynccontextmanager
async def listening(port: int, topics: str = "openbell/#") -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", port, max_queued_incoming_messages=50_000) as client:
        await client.subscribe(topics, qos=1)
        yield client


async def next_of(client: aiomqtt.Client, name: str, *, seconds: float = 30) -> Any:
    async with asyncio.timeout(seconds):
        async for message in client.messages:
            if str(message.topic) == f"openbell/{name}":
                return json.loads(message.payload)
    raise AssertionError(f"{name} never came")


def command(
    one: Running, *, key: Ed25519PrivateKey = KEY, topic: str = TOPIC, **changes: Any
) -> bytes:
    document = {
        "v": 1,
        "account": one.json("/api/v1/status")["account"],
        "verb": "kill",
        "reason": "drill",
        # The replay's own time: it runs faster than ours.
        "issued_at": one.json("/api/v1/overview")["now"],
        "nonce": os.urandom(12).hex(),
        **changes,
    }
    signature = base64.b64encode(key.sign(to_sign(topic, document))).decode()
    return json.dumps({**document, "sig": signature}).encode()


async def test_m11_it_tells_every_topic_and_no_secret(broker: int, tmp_path: Path) -> None:
    seen: dict[str, list[bytes]] = {}
    with daemon(tmp_path, broker, OPENBELL__CLOCK__START="2022-11-14T08:20:00-05:00") as one:
        async with listening(broker) as client, asyncio.timeout(120):
            async for message in client.messages:
                seen.setdefault(str(message.topic), []).append(bytes(message.payload))
                if b'"kind":"cutoff","state":"DONE"' in bytes(message.payload):
                    break
        number = one.json("/api/v1/status")["account"]

    names = ("status", "heartbeat", "signals", "orders", "fills", "positions", "pnl", "runs")
    assert {f"openbell/{name}" for name in names} <= set(seen)
    everything = b"".join(payload for payloads in seen.values() for payload in payloads)
    # M11: nothing of this may leave.
    for secret in (TOKEN, number, "PKEMBEDDED", "embedded-broker-on-loopback"):
        assert secret.encode() not in everything
    assert json.loads(seen["openbell/status"][-1])["account"] == number[-4:]


async def test_m12_the_status_is_retained_and_the_last_will_says_offline(
    broker: int, tmp_path: Path
) -> None:
    with daemon(tmp_path, broker, speed=1) as one:
        one.wait_for("mqtt.connected")
        async with listening(broker) as client:
            assert (await next_of(client, "status"))["state"] == "online"
            first = await next_of(client, "heartbeat")
            second = await next_of(client, "heartbeat")
            assert second["seq"] > first["seq"]
            one.process.kill()
            status = await next_of(client, "status")
            while status["state"] == "online":
                status = await next_of(client, "status")
            assert status == {"state": "offline"}


async def test_m12_a_clean_end_says_offline_too(broker: int, tmp_path: Path) -> None:
    with daemon(tmp_path, broker, speed=1) as one:
        one.wait_for("mqtt.connected")
        # Right in the start: waiting for the end of the longest drain would take 45 seconds.
        assert one.stop(seconds=30) == 0
        async with listening(broker) as client:
            assert await next_of(client, "status") == {"state": "offline"}


@pytest.mark.parametrize(("topic", "count"), [(TOPIC, 0), (f"{TOPIC}/kill", 10_000)])
async def test_m13_a_signed_kill_latches_within_a_quarter_second(
    broker: int, tmp_path_factory: pytest.TempPathFactory, topic: str, count: int
) -> None:
    # Other programs lengthen a span and never shorten it: the best of a few is our own.
    for _ in range(3):
        if await latched_after(broker, tmp_path_factory.mktemp("m13"), topic, count) <= 0.25:
            return
    pytest.fail("three kills took longer")


async def test_m13_on_a_flooded_topic_a_signed_kill_waits_only_for_what_came_before_it(
    broker: int, tmp_path: Path
) -> None:
    assert await latched_after(broker, tmp_path, TOPIC, 10_000) < 30


async def latched_after(broker: int, directory: Path, topic: str, count: int) -> float:
    """Seconds from a signed kill, behind ``count`` unsigned messages, to the latch on disk."""
    with daemon(directory, broker, speed=1) as one:
        one.wait_for("mqtt.connected")
        async with listening(broker, "openbell/command/result") as client:
            payload = command(one, topic=topic)
            await asyncio.to_thread(flood, broker, count)
            began = time.monotonic()
            await client.publish(topic, payload, qos=1)
            while json.loads((one.state / "KILL").read_text())["state"] != "engaged":
                assert time.monotonic() - began < 30
                await asyncio.sleep(0.002)
            took = time.monotonic() - began
            refusals = 0
            while not (await next_of(client, "command/result"))["accepted"]:
                refusals += 1
        # Noise is counted, not answered one by one.
        assert refusals <= 3
        assert one.json("/api/v1/status")["trading_state"] == "HALTED"

    sys.stdout.write(f"{topic}: latched {took * 1000:.0f} ms after {count} messages\n")
    return took


def flood(port: int, count: int) -> None:
    """Send so many unsigned messages at once, faster than any client library would."""
    name = TOPIC.encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05flood")
        assert wire.recv(4)[:1] == b"\x20"
        bodies = [struct.pack("!H", len(name)) + name + b'{"junk": %d}' % i for i in range(count)]
        wire.sendall(b"".join(b"\x30" + bytes([len(body)]) + body for body in bodies))
        wire.sendall(b"\xe0\x00")


async def test_the_kill_topic_takes_nothing_but_kills(broker: int, tmp_path: Path) -> None:
    topic = f"{TOPIC}/kill"
    with daemon(tmp_path, broker, speed=1) as one:
        one.wait_for("mqtt.connected")
        async with listening(broker, "openbell/command/result") as client:
            await client.publish(topic, command(one, topic=topic, verb="status"), qos=1)
            assert "takes kill only" in (await next_of(client, "command/result"))["problem"]
            # Signed for one topic, a command is worth nothing on the other.
            await client.publish(topic, command(one), qos=1)
            assert "no known key" in (await next_of(client, "command/result"))["problem"]


async def test_m03_m05_m06_m09_only_the_first_delivery_of_a_signed_command_is_obeyed(
    broker: int, tmp_path: Path
) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with daemon(tmp_path, broker, speed=1) as one:
        one.wait_for("mqtt.connected")
        async with listening(broker, "openbell/command/result") as client:
            await client.publish(TOPIC, command(one, key=stranger), qos=1)
            assert "no known key" in (await next_of(client, "command/result"))["problem"]
            await client.publish(TOPIC, command(one, verb="resume"), qos=1)
            assert "is no verb" in (await next_of(client, "command/result"))["problem"]
            assert one.json("/api/v1/status")["trading_state"] == "ACTIVE"

            pause = command(one, verb="reduce_only")
            await client.publish(TOPIC, pause, qos=1)
            assert (await next_of(client, "command/result"))["accepted"] is True
            assert one.json("/api/v1/status")["trading_state"] == "REDUCING"
            await client.publish(TOPIC, pause, qos=1)
            assert "obeyed before" in (await next_of(client, "command/result"))["problem"]


async def test_m03_a_retained_kill_waiting_at_the_broker_does_nothing(
    broker: int, tmp_path: Path
) -> None:
    async with aiomqtt.Client("127.0.0.1", broker) as client:
        await client.publish(TOPIC, b"whatever", qos=1, retain=True)
    with daemon(tmp_path, broker, speed=1) as one:
        one.wait_for("command.refused")
        assert "retained" in one.log
        assert one.json("/api/v1/status")["trading_state"] == "ACTIVE"


async def test_m01_without_a_broker_a_day_is_traded_all_the_same(
    port: int, program: str, tmp_path: Path
) -> None:
    # The day after Thanksgiving: half a session is enough, and takes half the time.
    start = "2022-11-25T08:20:00-05:00"
    with daemon(
        tmp_path, port, "run", "--once", "--then-wait", speed=0, OPENBELL__CLOCK__START=start
    ) as one:
        one.wait_for("daemon.waiting", seconds=120)
        assert one.json("/api/v1/fills")
        assert one.json("/api/v1/reports")[0]["is_reconciled"] is True
        assert "openbell_mqtt_connected 0.0" in one.ask("/metrics")[1]
