"""Each fault does what its name says, and only as often as asked."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import websockets

from brokers.paper_server import PaperServer, parse_fault
from brokers.paper_server.faults import FaultBox, FaultKind
from domain.errors import ConfigError
from tests.support.broker_doors import Refused, Venue, over

wire = over("httpx")


def arm(venue: Venue, *texts: str) -> PaperServer:
    assert venue.server is not None
    for text in texts:
        venue.server.faults.arm(parse_fault(text))
    return venue.server


def posts(venue: Venue) -> list[dict[str, Any]]:
    assert venue.server is not None
    return [row for row in venue.server.log if row["method"] == "POST"]


@contextlib.asynccontextmanager
async def listening(venue: Venue) -> AsyncIterator[list[Any]]:
    """Collect everything the trade stream says while the block runs."""
    server = venue.server
    assert server is not None
    heard: list[Any] = []

    async def read(socket: Any) -> None:
        try:
            async for frame in socket:
                heard.append(json.loads(frame))
        except websockets.ConnectionClosedError:
            heard.append("dropped")

    async with websockets.connect(server.stream_url, ping_interval=None, proxy=None) as socket:
        keys = {"key_id": server.keys.key_id, "secret_key": server.keys.secret_key}
        await socket.send(json.dumps({"action": "authenticate", "data": keys}))
        await socket.recv()
        await socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        await socket.recv()
        reader = asyncio.create_task(read(socket))
        yield heard
        await venue.wait(1)
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader


def names(heard: list[Any]) -> list[str]:
    return [one if isinstance(one, str) else one["data"]["event"] for one in heard]


@wire
async def test_lost_answer_takes_the_order_and_resets_the_connection(venue: Venue) -> None:
    arm(venue, "lose_answer:order=2")
    await venue.door.submit("buy", "1", coid="first")

    with pytest.raises(httpx.RemoteProtocolError):
        await venue.door.submit("buy", "1", coid="second")

    assert (await venue.door.find("second")).status == "pending_new"
    assert await venue.door.submit("buy", "1", coid="third")
    assert [row["handled"] for row in posts(venue)] == [200, 200, 200]
    assert [row["status"] for row in posts(venue)] == [200, "reset", 200]


@wire
async def test_lost_answer_can_hang_until_the_client_gives_up(venue: Venue) -> None:
    arm(venue, "lose_answer:mode=hang")

    with pytest.raises(httpx.ReadTimeout):
        await venue.door.submit("buy", "1", coid="hung")

    assert await venue.door.find("hung") is not None


@wire
async def test_lost_answer_can_be_a_gateway_timeout(venue: Venue) -> None:
    arm(venue, "lose_answer:mode=504")

    answer = await venue.door.client.post(
        "/v2/orders",
        json={
            "symbol": "AAPL",
            "qty": "1",
            "side": "buy",
            "type": "market",
            "time_in_force": "day",
            "client_order_id": "late",
        },
    )

    assert answer.status_code == 504
    assert await venue.door.find("late") is not None


@pytest.mark.parametrize("mode", ["503", "reset"])
def test_refused_request_never_reaches_the_exchange(mode: str, tmp_path: Any) -> None:
    @wire
    async def case(venue: Venue) -> None:
        arm(venue, f"refuse_before_accept:mode={mode}")
        with pytest.raises((httpx.RemoteProtocolError, json.JSONDecodeError)):
            await venue.door.submit("buy", "1", coid="never")
        assert await venue.door.find("never") is None

    case("httpx", tmp_path)


@wire
async def test_rate_limit_names_its_time_or_does_not(venue: Venue) -> None:
    arm(venue, "rate_limit:count=1,seconds=7", "rate_limit:nth=2")

    named = await venue.door.client.get("/v2/account")
    unnamed = await venue.door.client.get("/v2/account")

    assert (named.status_code, named.headers["retry-after"]) == (429, "7")
    assert unnamed.status_code == 429
    assert "retry-after" not in unnamed.headers
    assert (await venue.door.client.get("/v2/account")).status_code == 200


@wire
async def test_auth_proxy_and_redirect_faults_answer_as_their_names_say(venue: Venue) -> None:
    arm(venue, "auth_401", "html_502:nth=2", "redirect:nth=3")

    answers = [await venue.door.client.get("/v2/clock") for _ in range(4)]

    assert [one.status_code for one in answers] == [401, 502, 301, 200]
    assert answers[1].text.startswith("<html>")


@wire
async def test_truncated_and_html_answers_cannot_be_read(venue: Venue) -> None:
    arm(venue, "truncated_json", "html_200:nth=2")

    for _ in range(2):
        with pytest.raises(json.JSONDecodeError):
            (await venue.door.client.get("/v2/clock")).json()


@wire
async def test_empty_positions_once_is_gone_the_second_time(venue: Venue) -> None:
    await venue.hold("10")
    arm(venue, "empty_positions_once")

    assert await venue.door.positions() == {}
    assert list(await venue.door.positions()) == ["AAPL"]


@wire
async def test_young_orders_stay_invisible_for_the_delay(venue: Venue) -> None:
    arm(venue, "delay_visibility:seconds=5")
    await venue.door.submit("buy", "1", limit="90.00", coid="young")

    assert await venue.door.find("young") is None
    assert await venue.door.open_orders() == []
    await venue.wait(6)

    assert (await venue.door.find("young")).status == "new"
    assert len(await venue.door.open_orders()) == 1


@wire
async def test_mixed_207_leaves_an_order_working_and_says_so(venue: Venue) -> None:
    for number in range(3):
        await venue.door.submit("buy", "1", limit="90.00", coid=f"o{number}")
    await venue.wait(1)
    arm(venue, "mixed_207:nth=2")

    rows = await venue.door.call("DELETE", "/v2/orders")
    await venue.wait(1)

    assert [row["status"] for row in rows] == [200, 500, 200]
    assert [order.client_order_id for order in await venue.door.open_orders()] == ["o1"]


@wire
async def test_extra_fields_unknown_status_and_crossed_answers(venue: Venue) -> None:
    arm(venue, "extra_fields:path=/v2/clock", "unknown_status:method=GET", "crossed_answer")

    crossed = await venue.door.submit("buy", "1", coid="mine")
    assert crossed.client_order_id == "of-another-order"
    assert (await venue.door.find("mine")).status == "pondering"
    assert (await venue.door.find("mine")).status == "pending_new"
    assert "unheard_of" in await venue.door.call("GET", "/v2/clock")


@wire
async def test_slow_loris_dribbles_the_answer_byte_by_byte(venue: Venue) -> None:
    arm(venue, "slow_loris:seconds=9")
    before = venue.clock.now()

    body = (await venue.door.client.get("/v2/clock")).content

    assert (venue.clock.now() - before).total_seconds() >= 9 * len(body)


@wire
async def test_stuck_cancel_stays_pending_until_the_order_expires(venue: Venue) -> None:
    arm(venue, "stuck_pending_cancel")
    order = await venue.door.submit("buy", "1", limit="90.00")
    await venue.wait(1)

    await venue.door.cancel(order.id)
    await venue.wait(3600)
    assert (await venue.door.get(order.id)).status == "pending_cancel"
    with pytest.raises(Refused, match="pending cancel"):
        await venue.door.cancel(order.id)
    await venue.at("16:02")

    assert (await venue.door.get(order.id)).status == "expired"


@wire
async def test_accepted_order_can_be_rejected_by_the_market(venue: Venue) -> None:
    arm(venue, "reject_after_accept")

    async with listening(venue) as heard:
        order = await venue.door.submit("buy", "1")
        await venue.wait(1)

    assert names(heard) == ["pending_new", "rejected"]
    assert (await venue.door.get(order.id)).filled == 0


@wire
async def test_dropped_stream_loses_the_fill_and_replays_nothing(venue: Venue) -> None:
    arm(venue, "drop_stream:fill=2")

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1", coid="one")
        await venue.wait(1)
        await venue.door.submit("buy", "1", coid="two")
        await venue.wait(1)
    async with listening(venue) as later:
        await venue.door.submit("buy", "1", coid="three")

    assert names(heard) == ["pending_new", "new", "fill", "pending_new", "new", "dropped"]
    assert names(later) == ["pending_new", "new", "fill"]
    assert len(await venue.door.fills()) == 3


@wire
async def test_lost_event_leaves_the_stream_up(venue: Venue) -> None:
    arm(venue, "lose_event:fill=1")

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1", coid="one")
        await venue.wait(1)
        await venue.door.submit("buy", "1", coid="two")

    assert names(heard) == ["pending_new", "new", "pending_new", "new", "fill"]


@wire
async def test_duplicated_event_is_the_same_execution_twice(venue: Venue) -> None:
    arm(venue, "duplicate_event:event=3")

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1")

    assert names(heard) == ["pending_new", "new", "fill", "fill"]
    assert heard[2]["data"]["execution_id"] == heard[3]["data"]["execution_id"]
    assert len(await venue.door.fills()) == 1


@wire
async def test_reordered_events_change_places(venue: Venue) -> None:
    arm(venue, "reorder:event=2")

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1")

    assert names(heard) == ["pending_new", "fill", "new"]


@wire
async def test_unknown_event_and_garbage_come_in_between(venue: Venue) -> None:
    arm(venue, "unknown_event", "garbage_frame:event=2")

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1")

    assert names(heard) == ["pending_new", "pondered", "new", "<html>", "fill"]


@wire
async def test_faults_are_armed_over_the_control_endpoint(venue: Venue) -> None:
    client = venue.door.client
    armed = await client.post("/_openbell/faults", json={"faults": ["html_502:request=1"]})
    assert armed.json() == {"armed": ["html_502"]}
    assert (await client.get("/v2/clock")).status_code == 502

    wrong = await client.post("/_openbell/faults", json={"faults": ["lose_it"]})
    assert wrong.status_code == 422
    assert "lose_it" in wrong.json()["message"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lose_it", "lose_it"),
        ("lose_answer:mode=slowly", "slowly"),
        ("lose_answer:when=2", "when"),
        ("lose_answer:order", "order"),
        ("lose_answer:order=two", "not a number"),
    ],
)
def test_fault_that_cannot_be_read_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_fault(text)


def test_fault_text_has_sensible_defaults() -> None:
    fault = parse_fault("lose_answer:order=2")

    assert (fault.kind, fault.nth, fault.count) == (FaultKind.LOSE_ANSWER, 2, 1)
    assert (fault.method, fault.path, fault.mode) == ("POST", "/v2/orders", "reset")
    assert parse_fault("rate_limit").seconds == Decimal(-1)


def test_fault_strikes_from_its_nth_chance_as_often_as_asked() -> None:
    box = FaultBox()
    box.arm(parse_fault("html_502:request=2,count=2"))

    strikes = [box.strike(FaultKind.HTML_502, path="/v2/clock") is not None for _ in range(5)]

    assert strikes == [False, True, True, False, False]


@wire
async def test_late_delivery_of_a_lost_request_takes_the_order_afterwards(venue: Venue) -> None:
    arm(venue, "deliver_late:seconds=90")

    with pytest.raises(httpx.RemoteProtocolError):
        await venue.door.submit("buy", "1", coid="late")
    await venue.wait(60)
    assert await venue.door.find("late") is None
    await venue.wait(60)

    assert (await venue.door.find("late")).status == "filled"


@wire
async def test_late_twin_of_a_resent_order_is_refused(venue: Venue) -> None:
    arm(venue, "deliver_late:seconds=90")

    with pytest.raises(httpx.RemoteProtocolError):
        await venue.door.submit("buy", "1", coid="twin")
    await venue.door.submit("buy", "1", coid="twin")
    await venue.wait(120)

    assert [row["handled"] for row in posts(venue)] == [422, 200]
    assert len(await venue.door.fills()) == 1


@wire
async def test_regressed_answer_forgets_the_fill_once(venue: Venue) -> None:
    await venue.door.submit("buy", "1", coid="mine")
    await venue.wait(1)
    arm(venue, "regress")

    past = await venue.door.find("mine")

    assert (past.status, past.filled) == ("new", 0)
    assert (await venue.door.find("mine")).status == "filled"


@wire
async def test_short_page_shows_one_row_of_many(venue: Venue) -> None:
    for number in range(3):
        await venue.door.submit("buy", "1", limit="90.00", coid=f"o{number}")
    arm(venue, "short_page")

    assert len(await venue.door.open_orders()) == 1
    assert len(await venue.door.open_orders()) == 3


@wire
async def test_dropped_stream_can_stay_down_for_a_while(venue: Venue) -> None:
    server = arm(venue, "drop_stream:fill=1,seconds=60")
    async with listening(venue) as heard:
        await venue.door.submit("buy", "1")
        await venue.wait(1)
    assert names(heard)[-1] == "dropped"

    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(server.stream_url, ping_interval=None, proxy=None)
    await venue.wait(60)

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1")
    assert names(heard) == ["pending_new", "new", "fill"]


@wire
async def test_muted_stream_stays_connected_and_says_nothing(venue: Venue) -> None:
    arm(venue, "mute_stream:event=2")

    async with listening(venue) as heard:
        await venue.door.submit("buy", "1")
        await venue.wait(60)

    assert names(heard) == ["pending_new"]


@wire
async def test_refused_stream_answers_unauthorized_once(venue: Venue) -> None:
    server = arm(venue, "refuse_stream")
    keys = {"key_id": server.keys.key_id, "secret_key": server.keys.secret_key}
    said = []

    for _ in range(2):
        url = server.stream_url
        async with websockets.connect(url, ping_interval=None, proxy=None) as socket:
            await socket.send(json.dumps({"action": "authenticate", "data": keys}))
            said.append(json.loads(await socket.recv())["data"]["status"])

    assert said == ["unauthorized", "authorized"]


@wire
async def test_fault_can_pick_its_order_by_symbol_whoever_comes_first(venue: Venue) -> None:
    arm(venue, "lose_answer:match=MSFT", "lose_event:match=second")
    await venue.door.submit("buy", "1", coid="first")

    async with listening(venue) as heard:
        with pytest.raises(httpx.RemoteProtocolError):
            await venue.door.submit("buy", "1", symbol="MSFT", coid="second")
        await venue.door.submit("buy", "1", coid="third")
        await venue.wait(1)

    lost = [
        one["data"]["order"]["client_order_id"] for one in heard if one["data"]["event"] == "fill"
    ]
    assert "second" not in lost
    assert "third" in lost
