"""Cancels and the lock of the adapter, and who may go while the budget or the broker is gone."""

import asyncio
from typing import Any

import pytest

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.alpaca_wire import BROKER_BREAKER
from domain.clock import LoopClock
from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from domain.ids import BrokerOrderId
from domain.secrets import Secret
from tests.support.alpaca_words import ACCOUNT, START, broker_at, simulated
from tests.support.scripted_server import (
    ScriptedServer,
    answer,
    hang,
    html,
    reset,
)
from transport.breaker import Breaker, BreakerState

ORDER_ID = BrokerOrderId("61e69015")


@pytest.mark.parametrize("status", [200, 204, 207])
@simulated
async def test_a29_a_cancel_that_was_taken_returns_and_claims_nothing(status: int) -> None:
    async with ScriptedServer() as server:
        server.on("DELETE", f"/v2/orders/{ORDER_ID}", answer(status))
        broker = broker_at(server.url)

        assert await broker.cancel(ORDER_ID) is None  # type: ignore[func-returns-value]
        await broker.aclose()


_ANSWERS = pytest.mark.parametrize(
    ("step", "error"),
    [
        (
            answer(422, {"code": 42210000, "message": 'order is already in "filled" state'}),
            OrderRejected,
        ),
        (answer(404, {"code": 40410000, "message": "order not found"}), OrderRejected),
        (html(404), OutcomeUnknown),
        (answer(429, b"", {"Retry-After": "3"}), RateLimited),
        (answer(401, {"message": "unauthorized."}), AuthRefused),
        (html(500), OutcomeUnknown),
        (html(504), OutcomeUnknown),
        (hang, OutcomeUnknown),
        (reset, OutcomeUnknown),
        (answer(302, b"", {"Location": "/x"}), OutcomeUnknown),
    ],
)


@_ANSWERS
@simulated
async def test_a28_every_answer_to_a_cancel_is_named_and_sent_once(
    step: Any, error: type[Exception]
) -> None:
    async with ScriptedServer() as server:
        server.on("DELETE", "*", step)
        broker = broker_at(server.url)

        with pytest.raises(error) as caught:
            await broker.cancel(ORDER_ID)

        assert type(caught.value) is error
        assert server.count("DELETE") == 1
        await broker.aclose()


@_ANSWERS
@simulated
async def test_every_answer_to_a_cancel_of_everything_is_named_and_sent_once(
    step: Any, error: type[Exception]
) -> None:
    async with ScriptedServer() as server:
        server.on("DELETE", "*", step)
        broker = broker_at(server.url)

        with pytest.raises(error) as caught:
            await broker.cancel_everything()

        assert type(caught.value) is error
        assert [(one.method, one.path) for one in server.seen] == [("DELETE", "/v2/orders")]
        await broker.aclose()


@simulated
async def test_a28_single_orders_that_failed_make_a_cancel_of_everything_no_error() -> None:
    rows = [
        {"id": ORDER_ID, "status": 200},
        {
            "id": "0b4fd1c4",
            "status": 500,
            "body": {"code": 50010000, "message": "failed to cancel order"},
        },
    ]
    for taken in (answer(207, rows), answer(207, []), answer(207, b"[{"), answer(200, [])):
        async with ScriptedServer() as server:
            server.on("DELETE", "/v2/orders", taken)
            broker = broker_at(server.url)

            await broker.cancel_everything()

            assert server.count("DELETE") == 1
            await broker.aclose()


@simulated
async def test_a_cancel_without_a_connection_was_not_sent() -> None:
    broker = broker_at("http://paper-api.invalid")

    with pytest.raises(NotSent):
        await broker.cancel(ORDER_ID)
    with pytest.raises(NotSent):
        await broker.cancel_everything()
    await broker.aclose()


@simulated
async def test_an_order_id_cannot_leave_its_place_in_the_path() -> None:
    async with ScriptedServer() as server:
        server.on("DELETE", "*", answer(204))
        broker = broker_at(server.url)

        await broker.cancel(BrokerOrderId("../positions?x=1#"))

        assert server.seen[0].path == "/v2/orders/../positions?x=1#"
        assert server.seen[0].params == {}
        await broker.aclose()


@simulated
async def test_the_broker_side_lock_is_set_and_read_back() -> None:
    async with ScriptedServer() as server:
        server.on("PATCH", "/v2/account/configurations", answer(200, {"suspend_trade": False}))
        server.on("GET", "/v2/account/configurations", answer(200, {"suspend_trade": True}))
        broker = broker_at(server.url)

        assert await broker.set_suspended(is_suspended=True) is True

        assert server.seen[0].json() == {"suspend_trade": True}
        await broker.aclose()


@simulated
async def test_an_account_without_the_lock_says_so() -> None:
    for patch, read in (
        (answer(404, {"code": 40410000, "message": "not found"}), answer(200, {})),
        (answer(403, {"code": 40310000, "message": "forbidden"}), answer(200, {})),
        (answer(200, {}), answer(200, {})),
    ):
        async with ScriptedServer() as server:
            server.on("PATCH", "/v2/account/configurations", patch)
            server.on("GET", "/v2/account/configurations", read)
            broker = broker_at(server.url)

            with pytest.raises(OrderRejected):
                await broker.set_suspended(is_suspended=True)
            await broker.aclose()


@simulated
async def test_a_lock_that_cannot_be_read_back_is_unknown() -> None:
    async with ScriptedServer() as server:
        server.on("PATCH", "/v2/account/configurations", answer(200, {}))
        server.on("GET", "/v2/account/configurations", html(500))
        broker = broker_at(server.url)

        with pytest.raises(OutcomeUnknown):
            await broker.set_suspended(is_suspended=True)
        await broker.aclose()


@simulated
async def test_a30_the_kill_switch_reads_and_cancels_while_the_budget_is_spent() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedServer() as server:
        spent = {
            "X-RateLimit-Limit": "200",
            "X-RateLimit-Remaining": "15",
            "X-RateLimit-Reset": "0",
        }
        spent["X-RateLimit-Reset"] = str(int(START.timestamp()) + 50)
        server.on("GET", "/v2/orders", answer(200, [], spent))
        server.on("DELETE", "*", answer(204, b"", spent))
        broker = broker_at(server.url, is_urgent=True)

        for _ in range(5):
            await broker.open_orders()
            await broker.cancel(ORDER_ID)
            await broker.cancel_everything()

        assert loop.time() < 1
        await broker.aclose()


@simulated
async def test_a31_a_broker_that_stays_away_is_spared_and_asked_again_soon_after() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", html(503))
        server.on("DELETE", "*", answer(204))
        clock = LoopClock(START, loop)
        breaker = Breaker("broker", BROKER_BREAKER, clock=clock)
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.url),
            key_id=Secret("K"),
            secret_key=Secret("S"),
            clock=clock,
            breaker=breaker,
        )
        for _ in range(20):
            with pytest.raises(BrokerUnavailable):
                await broker.account()

        assert server.count("GET") == 15
        assert breaker.state is BreakerState.OPEN
        await broker.cancel(ORDER_ID)
        server.on("GET", "/v2/account", answer(200, ACCOUNT))
        await asyncio.sleep(5)
        await broker.account()
        assert breaker.state is BreakerState.CLOSED
        await broker.aclose()


@simulated
async def test_a_plain_no_does_not_open_the_breaker() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", answer(422, {"code": 1, "message": "no"}))
        breaker = Breaker(
            "broker", BROKER_BREAKER, clock=LoopClock(START, asyncio.get_running_loop())
        )
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.url),
            key_id=Secret("K"),
            secret_key=Secret("S"),
            clock=LoopClock(START, asyncio.get_running_loop()),
            breaker=breaker,
        )
        for _ in range(10):
            with pytest.raises(BrokerUnavailable):
                await broker.account()

        assert len(server.seen) == 10
        assert breaker.state is BreakerState.CLOSED
        await broker.aclose()


@simulated
async def test_a31_kills_and_cancels_are_never_held_back_by_the_breaker() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "*", html(503))
        server.on("DELETE", "*", answer(204))
        clock = LoopClock(START, asyncio.get_running_loop())
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.url),
            key_id=Secret("K"),
            secret_key=Secret("S"),
            clock=clock,
            breaker=Breaker("broker", BROKER_BREAKER, clock=clock),
        )
        for _ in range(6):
            with pytest.raises(BrokerUnavailable):
                await broker.account()
        server.on("GET", "*", answer(200, []))
        with pytest.raises(BrokerUnavailable, match="not called"):
            await broker.open_orders()

        urgent = broker.urgent()
        assert await urgent.open_orders() == ()
        await urgent.cancel(ORDER_ID)
        await urgent.cancel_everything()

        # What it finds out is its own: the breaker waits for its probe.
        with pytest.raises(BrokerUnavailable, match="not called"):
            await broker.open_orders()
        await broker.aclose()


@simulated
async def test_short_sales_are_forbidden_by_that_one_key_and_read_back() -> None:
    async with ScriptedServer() as server:
        server.on("PATCH", "/v2/account/configurations", answer(200, {"no_shorting": False}))
        server.on("GET", "/v2/account/configurations", answer(200, {"no_shorting": True}))
        broker = broker_at(server.url)

        assert await broker.set_shorting_forbidden(is_forbidden=True) is True
        assert await broker.is_shorting_forbidden() is True

        assert server.seen[0].json() == {"no_shorting": True}
        await broker.aclose()


@simulated
async def test_an_account_without_the_setting_for_short_sales_says_so() -> None:
    async with ScriptedServer() as server:
        server.on("PATCH", "/v2/account/configurations", answer(200, {}))
        server.on("GET", "/v2/account/configurations", answer(200, {"no_shorting": "yes"}))
        broker = broker_at(server.url)

        assert await broker.is_shorting_forbidden() is None
        with pytest.raises(OrderRejected, match="no_shorting"):
            await broker.set_shorting_forbidden(is_forbidden=True)
        await broker.aclose()
