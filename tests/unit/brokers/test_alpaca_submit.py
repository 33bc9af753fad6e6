"""Rows A01 to A25 of the broker-fault table that live in the adapter's submit."""

import asyncio
import socket
from decimal import Decimal
from typing import Any

import pytest

from brokers.alpaca import AlpacaBroker
from domain.errors import (
    AuthRefused,
    BrokerError,
    DuplicateOrder,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    SendRefused,
)
from domain.orders import OrderRequest, OrderState, OrderType, Side, TimeInForce
from tests.support.alpaca_words import broker_at, order_json, request, simulated
from tests.support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    close,
    cut,
    hang,
    html,
    reset,
    trickle,
)

ORDERS = "/v2/orders"


def agree() -> None:
    """Let it pass: the guard of tests that are about something else."""


def refusal(code: int | None, message: str) -> dict[str, Any]:
    return {"message": message} if code is None else {"code": code, "message": message}


async def submit(step: Step, wanted: OrderRequest | None = None) -> tuple[Any, ScriptedServer]:
    """Submit against one scripted answer; return what came of it, and the server."""
    async with ScriptedServer() as server:
        server.on("POST", ORDERS, step)
        broker = broker_at(server.url)
        try:
            return await broker.submit(wanted or request(), guard=agree), server
        except BrokerError as exc:
            return exc, server
        finally:
            await broker.aclose()


@simulated
async def test_an_accepted_order_comes_back_live_and_went_out_in_exact_decimals() -> None:
    wanted = request(quantity=Decimal("0.1") + Decimal("0.2"), limit_price=Decimal("189.250"))
    order, server = await submit(answer(200, order_json(qty="0.3")), wanted)

    assert order.state is OrderState.LIVE
    assert order.raw_status == "pending_new"
    assert server.seen[0].json() == {
        "symbol": "AAPL",
        "qty": "0.3",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "limit_price": "189.25",
        "client_order_id": "ob-1",
        "extended_hours": False,
    }
    assert server.seen[0].headers["apca-api-key-id"] == "KEY"
    assert server.seen[0].headers["apca-api-secret-key"] == "SECRET"


@simulated
async def test_a_market_order_on_the_open_has_no_limit_price() -> None:
    wanted = request(
        order_type=OrderType.MARKET,
        limit_price=None,
        side=Side.SELL,
        time_in_force=TimeInForce.OPG,
    )
    body = order_json(type="market", side="sell", time_in_force="opg", limit_price=None)
    order, server = await submit(answer(200, body), wanted)

    assert order.limit_price is None
    assert "limit_price" not in server.seen[0].json()
    assert server.seen[0].json()["time_in_force"] == "opg"


@simulated
async def test_a01_a_post_that_gets_no_answer_is_unknown_and_was_sent_once() -> None:
    outcome, server = await submit(hang)

    assert type(outcome) is OutcomeUnknown
    assert server.count("POST") == 1


@simulated
async def test_a02_a_reply_that_is_lost_after_the_accept_is_unknown() -> None:
    for step in (close, reset):
        outcome, server = await submit(step)

        assert type(outcome) is OutcomeUnknown
        assert server.count("POST") == 1


@pytest.mark.parametrize(
    "body",
    [
        refusal(40010001, "client_order_id must be unique"),
        refusal(42210000, "Client_order_id MUST BE UNIQUE"),
        refusal(None, "client_order_id must be unique"),
    ],
)
@simulated
async def test_a06_must_be_unique_is_proof_of_existence_and_no_rejection(
    body: dict[str, Any],
) -> None:
    outcome, _ = await submit(answer(422, body))

    assert type(outcome) is DuplicateOrder


@simulated
async def test_a06_other_refusals_with_the_same_code_are_rejections() -> None:
    outcome, _ = await submit(answer(422, refusal(40010001, "qty must be > 0")))

    assert type(outcome) is OrderRejected
    assert outcome.code == 40010001


@simulated
async def test_a_refusal_with_half_a_character_is_a_refusal_that_can_be_written_down() -> None:
    # The order stayed "sending", and the books could not be opened with it any more.
    outcome, _ = await submit(answer(422, rb'{"code":42210000,"message":"cut \ud83d\u001b[2J"}'))

    assert type(outcome) is OrderRejected
    assert str(outcome).encode().endswith("cut \N{REPLACEMENT CHARACTER} [2J".encode())


@simulated
async def test_a07_429_took_nothing_and_says_how_long_to_wait() -> None:
    outcome, server = await submit(
        answer(429, refusal(None, "too many requests."), {"Retry-After": "7"})
    )

    assert type(outcome) is RateLimited
    assert outcome.retry_after_seconds == 7
    assert server.count("POST") == 1


@simulated
async def test_a07_after_a_429_the_next_order_waits_and_a_cancel_does_not() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedServer() as server:
        server.on("POST", ORDERS, answer(429, b"", {"Retry-After": "7"}), answer(200, order_json()))
        server.on("DELETE", "/v2/orders/x", answer(204))
        broker = broker_at(server.url)
        with pytest.raises(RateLimited):
            await broker.submit(request(), guard=agree)

        await broker.cancel("x")  # type: ignore[arg-type]
        assert loop.time() < 0.1
        await broker.submit(request(), guard=agree)

        assert loop.time() == pytest.approx(7, abs=0.1)
        await broker.aclose()


@simulated
async def test_a08_429_without_retry_after_uses_the_reset_header_or_a_second() -> None:
    reset_at = {"X-RateLimit-Reset": "1795186812"}  # 12 s after the tests' clock starts
    with_reset, _ = await submit(answer(429, b"", reset_at))
    without, _ = await submit(answer(429, b""))

    assert with_reset.retry_after_seconds == pytest.approx(12, abs=0.1)
    assert without.retry_after_seconds == 1


@pytest.mark.parametrize("header", ["-1", "soon", "1000000000", "Wed, 14 Dec 2022 13:00:00 GMT"])
@simulated
async def test_a09_an_absurd_retry_after_stays_within_a_minute(header: str) -> None:
    outcome, _ = await submit(answer(429, b"", {"Retry-After": header}))

    assert 0 <= outcome.retry_after_seconds <= 60


@pytest.mark.parametrize("status", [500, 502, 503])
@simulated
async def test_a10_a_server_error_is_unknown_and_never_a_refusal(status: int) -> None:
    for step in (html(status), answer(status, refusal(50010000, "internal")), answer(status)):
        outcome, server = await submit(step)

        assert type(outcome) is OutcomeUnknown
        assert server.count("POST") == 1


@simulated
async def test_a11_504_is_posted_once_and_is_unknown() -> None:
    outcome, server = await submit(html(504))
    body = server.seen[0].body

    assert type(outcome) is OutcomeUnknown
    assert server.count("POST") == 1
    assert server.received_bytes < 1000 + len(body)


@simulated
async def test_a12_401_is_refused_keys_and_is_not_tried_again() -> None:
    for step in (answer(401, refusal(None, "unauthorized.")), html(401)):
        outcome, server = await submit(step)

        assert type(outcome) is AuthRefused
        assert "API keys" in str(outcome)
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, 40310000, "insufficient buying power"),
        (403, 40310000, "potential wash trade detected. use complex orders"),
        (403, 40310100, "trade denied due to pattern day trading protection"),
        (403, 40310000, "account not authorized to trade"),
        (404, 40410000, "symbol not found"),
        (422, 42210000, "invalid limit_price 290.123. sub-penny increment"),
        (422, 42210000, 'asset "XXX" not found'),
        (403, None, "forbidden."),
    ],
)
@simulated
async def test_a13_a14_a15_a_refusal_is_final_and_keeps_reason_and_code(
    status: int, code: int | None, message: str
) -> None:
    outcome, server = await submit(answer(status, refusal(code, message)))

    assert type(outcome) is OrderRejected
    assert message in str(outcome)
    assert outcome.code == code
    assert server.count("POST") == 1


@pytest.mark.parametrize("status", [403, 404, 422])
@simulated
async def test_a_refusal_that_is_not_in_the_brokers_own_form_is_not_believed(status: int) -> None:
    for step in (html(status), answer(status), answer(status, ["no"]), answer(status, {"code": 1})):
        outcome, _ = await submit(step)

        assert type(outcome) is OutcomeUnknown


@pytest.mark.parametrize("at", [0, 1, 17, 100, 350])
@simulated
async def test_a16_a_reply_cut_at_any_byte_is_unknown(at: int) -> None:
    outcome, _ = await submit(cut(order_json(), at=at))

    assert type(outcome) is OutcomeUnknown


@simulated
async def test_a16_a17_a_success_that_cannot_be_read_is_unknown() -> None:
    truncated = str(order_json())[:100].encode()
    for step in (answer(200, truncated), html(200), answer(200), answer(200, []), answer(204)):
        outcome, _ = await submit(step)

        assert type(outcome) is OutcomeUnknown


@simulated
async def test_a19_a_trickling_server_is_cut_at_fifteen_seconds() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    outcome, _ = await submit(trickle(b"{}", seconds=9))

    assert type(outcome) is OutcomeUnknown
    assert loop.time() - started == pytest.approx(15, abs=0.2)


@simulated
async def test_a20_a_silent_server_costs_ten_seconds_and_not_for_ever() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    outcome, _ = await submit(hang)

    assert type(outcome) is OutcomeUnknown
    assert loop.time() - started == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@simulated
async def test_a22_a_redirect_is_not_followed_and_leaves_the_outcome_open(status: int) -> None:
    outcome, server = await submit(answer(status, b"", {"Location": "/v2/elsewhere"}))

    assert type(outcome) is OutcomeUnknown
    assert [seen.path for seen in server.seen] == [ORDERS]


@simulated
async def test_a23_a_refused_connection_is_not_sent_and_safe_to_repeat() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        broker = broker_at(f"http://127.0.0.1:{placeholder.getsockname()[1]}")

        with pytest.raises(NotSent):
            await broker.submit(request(), guard=agree)
        await broker.aclose()


@simulated
async def test_a23_a_name_that_does_not_resolve_is_not_sent() -> None:
    broker = broker_at("http://paper-api.invalid")

    with pytest.raises(NotSent):
        await broker.submit(request(), guard=agree)
    await broker.aclose()


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": "ob-2"},
        {"symbol": "MSFT"},
        {"side": "sell"},
        {"qty": "11"},
        {"limit_price": "189.26"},
        {"limit_price": None},
        {"type": "market", "order_type": "market"},
        {"time_in_force": "gtc"},
        {"id": ""},
        {"id": None},
    ],
    ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items()),
)
@simulated
async def test_a24_a_reply_about_another_order_is_unknown(changes: dict[str, Any]) -> None:
    outcome, _ = await submit(answer(200, order_json(**changes)))

    assert type(outcome) is OutcomeUnknown


@pytest.mark.parametrize(
    "quantity", ["NaN", "Infinity", "1e400", "ten", "", "-10", True, [], {}, "1e-300", "9" * 40]
)
@simulated
async def test_a25_a_quantity_that_is_no_number_is_unknown(quantity: Any) -> None:
    outcome, _ = await submit(answer(200, order_json(qty=quantity)))

    assert type(outcome) is OutcomeUnknown


@simulated
async def test_a25_numbers_may_come_as_numbers() -> None:
    order, _ = await submit(answer(200, order_json(qty=10, limit_price=189.25, filled_qty=0.0)))

    assert order.quantity == Decimal(10)
    assert order.limit_price == Decimal("189.25")


@simulated
async def test_a26_unknown_fields_and_statuses_and_missing_old_ones_do_no_harm() -> None:
    body = order_json(status="pending_moon_phase", ratio_qty="1", order_type=None)
    for key in ("asset_class", "updated_at", "filled_avg_price"):
        del body[key]

    order, _ = await submit(answer(200, body))

    assert order.state is OrderState.LIVE
    assert order.raw_status == "pending_moon_phase"


@simulated
async def test_a_guard_that_says_no_at_the_last_moment_reaches_the_caller_and_nothing_is_sent() -> (
    None
):
    async with ScriptedServer() as server:
        server.on("POST", ORDERS, answer(200, order_json()))
        broker = broker_at(server.url)

        def guard() -> None:
            raise SendRefused("halted")

        with pytest.raises(SendRefused):
            await broker.submit(request(), guard=guard)

        assert server.received_bytes == 0
        await broker.aclose()


@simulated
async def test_every_outcome_is_a_broker_error_and_nothing_else_comes_out() -> None:
    steps = [
        answer(status, body)
        for status in (100, 199, 202, 206, 304, 400, 402, 405, 408, 409, 410, 413, 418, 451, 599)
        for body in (b"", {"code": status, "message": "odd"})
    ]
    for step in steps[2:]:
        outcome, _ = await submit(step)

        assert type(outcome) is OutcomeUnknown, outcome


@simulated
async def test_orders_that_raise_risk_wait_behind_those_that_lower_it() -> None:
    async with ScriptedServer() as server:
        answers = [
            answer(200, order_json(client_order_id=name)) for name in ("first", "exit", "entry")
        ]
        server.on("POST", ORDERS, *answers)
        broker: AlpacaBroker = broker_at(server.url)
        broker._wire._pacer.observe({"x-ratelimit-limit": "1"})
        await broker.submit(request(client_order_id="first"), guard=agree)

        async with asyncio.TaskGroup() as group:
            for name in ("entry", "exit"):
                wanted = request(client_order_id=name, leg=name)
                group.create_task(broker.submit(wanted, guard=agree))
                await asyncio.sleep(0.1)

        assert [seen.json()["client_order_id"] for seen in server.seen] == [
            "first",
            "exit",
            "entry",
        ]
        await broker.aclose()
