"""Commands over MQTT: only what is signed, fresh, unseen and lowers risk is obeyed."""

import asyncio
import base64
import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.telemetry.commands import CommandDesk, CommandRefused, Verb, to_sign
from daemon.telemetry.mqtt_client import stay_connected
from daemon.telemetry.nonces import Nonces
from daemon.telemetry.outbox import Message, Outbox
from domain.clock import ManualClock, SystemClock
from domain.errors import ConfigError, StorageError

TOPIC = "openbell/command"
ACCOUNT = "PA3TEST00001"
NOW = dt.datetime(2026, 11, 21, 14, 30, tzinfo=dt.UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()


def command(*, key: Ed25519PrivateKey = KEY, topic: str = TOPIC, **changes: Any) -> dict[str, Any]:
    document = {
        "v": 1,
        "account": ACCOUNT,
        "verb": "kill",
        "reason": "drill",
        "issued_at": NOW.isoformat(),
        "nonce": "0123456789abcdef",
        **changes,
    }
    signature = base64.b64encode(key.sign(to_sign(topic, document))).decode()
    return {**document, "sig": changes.get("sig", signature)}


def packed(document: Any) -> bytes:
    return json.dumps(document).encode()


def desk(directory: Path, clock: ManualClock | None = None) -> CommandDesk:
    return CommandDesk(
        account=ACCOUNT,
        topic=TOPIC,
        keys=[PUBLIC],
        nonces=Nonces(directory / "nonces.json"),
        clock=clock or ManualClock(NOW),
    )


@pytest.mark.parametrize("verb", ["kill", "pause", "reduce_only", "status"])
def test_a_signed_fresh_command_is_accepted(tmp_path: Path, verb: str) -> None:
    accepted = desk(tmp_path).accept(packed(command(verb=verb)), is_retained=False)

    assert accepted.verb is Verb(verb)


@pytest.mark.parametrize("reason", ["[desk] {risk} [now] [!]", "[" * 200])
def test_a_reason_may_hold_brackets(tmp_path: Path, reason: str) -> None:
    accepted = desk(tmp_path).accept(packed(command(reason=reason)), is_retained=False)

    assert accepted.reason == reason


@pytest.mark.parametrize("verb", ["resume", "unkill", "unpause", "buy", "config", "run"])
def test_m04_no_verb_raises_risk(tmp_path: Path, verb: str) -> None:
    with pytest.raises(CommandRefused, match="is no verb"):
        desk(tmp_path).accept(packed(command(verb=verb)), is_retained=False)


def test_m03_a_retained_kill_is_no_command(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="retained"):
        desk(tmp_path).accept(packed(command()), is_retained=True)


OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (command(key=OTHER), "no known key"),
        (command(topic="other/command"), "no known key"),
        ({**command(), "verb": "pause"}, "no known key"),
        ({**command(), "reason": "changed"}, "no known key"),
        (command(sig=""), "no known key"),
        (command(sig="%%%"), "not base64"),
        ({k: v for k, v in command().items() if k != "sig"}, "exactly the fields"),
        ({**command(), "extra": "1"}, "exactly the fields"),
        (command(account="PA3OTHER0001"), "another account"),
        (command(v=2), "v must be 1"),
        (command(nonce="short"), "nonce"),
        (command(reason="x" * 300), "reason"),
        ([], "exactly the fields"),
        ("kill", "exactly the fields"),
    ],
)
def test_m05_unsigned_tampered_or_foreign_commands_are_refused(
    tmp_path: Path, document: Any, why: str
) -> None:
    with pytest.raises(CommandRefused, match=why):
        desk(tmp_path).accept(packed(document), is_retained=False)


@given(st.binary(max_size=400))
def test_m05_no_bytes_by_chance_are_a_command(tmp_path_factory: Any, payload: bytes) -> None:
    made = desk(tmp_path_factory.getbasetemp())

    with pytest.raises(CommandRefused):
        made.accept(payload, is_retained=False)


@example(place=235, change=2)  # A bit of the last letter that base64 has to spare.
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_m05_a_single_changed_byte_is_refused(
    tmp_path_factory: Any, place: int, change: int
) -> None:
    payload = bytearray(packed(command()))
    payload[place % len(payload)] ^= change

    # A byte inside base64 padding or white space may change nothing that is signed.
    try:
        same = json.loads(payload) == command()
    except ValueError:
        same = False
    if not same:
        with pytest.raises(CommandRefused):
            desk(tmp_path_factory.mktemp("n")).accept(bytes(payload), is_retained=False)


def test_m06_a_replayed_command_is_refused_even_after_a_restart(tmp_path: Path) -> None:
    payload = packed(command())
    desk(tmp_path).accept(payload, is_retained=False)

    with pytest.raises(CommandRefused, match="obeyed before"):
        desk(tmp_path).accept(payload, is_retained=False)


def test_m06_a_clock_set_back_does_not_make_an_old_command_new(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    one = desk(tmp_path, clock)
    one.accept(packed(command()), is_retained=False)
    clock.advance(dt.timedelta(minutes=5))
    later = (NOW + dt.timedelta(minutes=5)).isoformat()
    one.accept(packed(command(nonce="fedcba9876543210", issued_at=later)), is_retained=False)

    clock.advance(dt.timedelta(minutes=-5))
    with pytest.raises(CommandRefused, match="obeyed before"):
        one.accept(packed(command()), is_retained=False)


def test_m07_a_duplicate_of_a_delivery_is_refused_and_harmless(tmp_path: Path) -> None:
    one = desk(tmp_path)
    one.accept(packed(command()), is_retained=False)

    with pytest.raises(CommandRefused, match="obeyed before"):
        one.accept(packed(command()), is_retained=False)


@pytest.mark.parametrize("minutes", [-10, 10, 1, -1])
def test_m08_a_sender_with_a_wrong_clock_is_told_so(tmp_path: Path, minutes: int) -> None:
    issued = (NOW + dt.timedelta(minutes=minutes)).isoformat()

    with pytest.raises(CommandRefused, match="set the sender's clock, or use openbell kill"):
        desk(tmp_path).accept(packed(command(issued_at=issued)), is_retained=False)


@pytest.mark.parametrize("issued", ["", "yesterday", "2026-11-21T14:30:00", "9" * 50])
def test_m08_a_time_that_is_none_is_refused(tmp_path: Path, issued: str) -> None:
    with pytest.raises(CommandRefused, match="issued_at"):
        desk(tmp_path).accept(packed(command(issued_at=issued)), is_retained=False)


@pytest.mark.parametrize(
    "payload",
    [b"x" * 10_000_000, b"\xff\xfe\x00", b"[" * 8000, b'{"v":' * 1500, b"", b"null", b"1e999"],
    ids=["10 MB", "invalid UTF-8", "deep list", "deep object", "empty", "null", "infinity"],
)
def test_m10_payloads_that_are_long_deep_or_no_text_are_refused(
    tmp_path: Path, payload: bytes
) -> None:
    with pytest.raises(CommandRefused):
        desk(tmp_path).accept(payload, is_retained=False)


@pytest.mark.parametrize("key", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_key_that_is_none_refuses_the_start(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.command_public_keys"):
        CommandDesk(
            account=ACCOUNT,
            topic=TOPIC,
            keys=[key],
            nonces=Nonces(tmp_path / "n"),
            clock=ManualClock(NOW),
        )


def test_nonces_that_cannot_be_read_refuse_the_start(tmp_path: Path) -> None:
    (tmp_path / "nonces.json").write_text("{")

    with pytest.raises(StorageError, match=r"nonces\.json cannot be read"):
        desk(tmp_path)


def test_a_nonce_that_cannot_be_remembered_is_not_obeyed(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    nonces = Nonces(tmp_path / "gone" / "nonces.json")
    (tmp_path / "gone").rmdir()

    for _ in range(2):
        with pytest.raises(StorageError, match="use openbell kill"):
            nonces.use("0123456789abcdef", NOW)

    (tmp_path / "gone").mkdir()
    assert nonces.use("0123456789abcdef", NOW) is True


def test_m06_a_kill_is_obeyed_once_also_where_the_disk_takes_no_nonce(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    sent, pause = packed(command()), packed(command(verb="pause", nonce="fedcba9876543210"))
    one = desk(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert one.accept(sent, is_retained=False).verb is Verb.KILL
    with pytest.raises(CommandRefused, match="obeyed before"):
        one.accept(sent, is_retained=False)
    with pytest.raises(CommandRefused, match="could not be written"):
        one.accept(pause, is_retained=False)


def message(topic: str, text: str = "") -> Message:
    return Message(topic=topic, payload=text.encode())


async def test_m01_the_outbox_is_bounded_and_the_newest_wins() -> None:
    dropped: list[int] = []
    outbox = Outbox(dropped=lambda: dropped.append(1), most=3)
    for number in range(1000):
        outbox.put(message("pnl", str(number)))
    for topic in ("a", "b", "c"):
        outbox.put(message(topic))

    assert len(outbox) == 3
    assert len(dropped) == 1000
    assert [(await outbox.take())[0] for _ in range(3)] == ["a", "b", "c"]


async def test_m02_a_message_that_did_not_leave_yields_to_a_newer_one() -> None:
    outbox = Outbox(dropped=lambda: None)
    outbox.put(message("pnl", "old"))
    key, old = await outbox.take()
    outbox.put(message("pnl", "new"))

    outbox.give_back(key, old)

    assert (await outbox.take())[1].payload == b"new"
    assert len(outbox) == 0


async def test_m02_a_message_that_did_not_leave_goes_first_next_time() -> None:
    outbox = Outbox(dropped=lambda: None)
    outbox.put(message("pnl"))
    outbox.put(message("runs"))
    key, first = await outbox.take()

    outbox.give_back(key, first)

    assert [(await outbox.take())[0] for _ in range(2)] == ["pnl", "runs"]


class Deaf:
    """A connection whose goodbye fails, as one to a broker that hangs does."""

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc: object) -> None:
        raise aiomqtt.MqttError("Operation timed out")


async def test_m02_a_goodbye_that_fails_does_not_keep_the_daemon_from_ending() -> None:
    parts: Any = SimpleNamespace(clock=SystemClock(), pace=1.0)
    served = asyncio.Event()

    async def serve(_: Any) -> None:
        served.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(
        stay_connected(parts, lambda: cast(Any, Deaf()), serve, lost=lambda: None)
    )
    await served.wait()
    task.cancel()

    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
