"""Reads, lists and cancels of the adapter, and the rows of the fault table they answer."""

import asyncio
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.alpaca_wire import BROKER_BREAKER
from domain.account import ActivityKind
from domain.clock import LoopClock
from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.orders import OrderState
from domain.secrets import Secret
from tests.support.alpaca_words import ACCOUNT, START, broker_at, order_json, simulated
from tests.support.scripted_server import (
    ScriptedServer,
    Seen,
    answer,
    hang,
    html,
    reply_with,
    reset,
    trickle,
)
from transport.breaker import Breaker, BreakerState

ORDER_ID = BrokerOrderId("61e69015")
SLOW = (hang, trickle(b"{}", seconds=9))


def position_json(symbol: str = "AAPL", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "qty": "5",
        "side": "long",
        "avg_entry_price": "100.5",
        "current_price": "101",
        **changes,
    }


def listed(count: int) -> list[dict[str, Any]]:
    """Orders as the server holds them, all submitted within one microsecond."""
    return [
        order_json(
            id=f"id-{number:04}",
            client_order_id=f"ob-{number:04}",
            submitted_at=f"2026-11-20T15:04:05.120012{number % 1000:03}Z",
        )
        for number in range(count)
    ]


def order_list(
    held: list[dict[str, Any]], *, cap: int = 500, knows_ids: bool = True
) -> Callable[[Seen], list[dict[str, Any]]]:
    """Serve GET /v2/orders like the real one; ``cap`` below 500 gives short pages."""

    def page(seen: Seen) -> list[dict[str, Any]]:
        rows = sorted(held, key=lambda row: row["submitted_at"])
        after, after_id = seen.params.get("after"), seen.params.get("after_order_id")
        if after_id and knows_ids:
            ids = [row["id"] for row in rows]
            rows = rows[ids.index(after_id) + 1 :]
        elif after:
            floor = dt.datetime.fromisoformat(after)
            rows = [r for r in rows if dt.datetime.fromisoformat(r["submitted_at"]) > floor]
        return rows[: min(cap, int(seen.params["limit"]))]

    return page


async def test_importing_the_adapter_does_not_load_the_sdk() -> None:
    process = await asyncio.create_subprocess_exec(
        __import__("sys").executable,
        "-c",
        "import sys, brokers.alpaca, brokers.alpaca_stream; sys.exit('alpaca' in sys.modules)",
    )

    assert await process.wait() == 0


@simulated
async def test_the_account_is_read_exactly_and_retired_fields_may_be_missing() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", answer(200, {**ACCOUNT, "new_field": {"a": [1]}}))
        broker = broker_at(server.url)

        account = await broker.account()

        assert account.equity == Decimal("100250.5")
        assert not account.is_trading_blocked
        assert not account.is_suspended_by_user
        await broker.aclose()


@pytest.mark.parametrize(
    ("changes", "blocked", "suspended"),
    [
        ({"trading_blocked": True}, True, False),
        ({"account_blocked": True}, True, False),
        ({"trading_blocked": "no"}, True, False),
        ({"trading_blocked": None}, True, False),
        ({"status": "ACCOUNT_CLOSED_PENDING"}, True, False),
        ({"trade_suspended_by_user": True}, False, True),
    ],
)
@simulated
async def test_a14_a_flag_that_is_not_plainly_off_counts_as_on(
    changes: dict[str, Any], blocked: bool, suspended: bool
) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", answer(200, {**ACCOUNT, **changes}))
        broker = broker_at(server.url)

        account = await broker.account()

        assert (account.is_trading_blocked, account.is_suspended_by_user) == (blocked, suspended)
        await broker.aclose()


@pytest.mark.parametrize("equity", ["NaN", "Infinity", None, "", "1e400", [], True])
@simulated
async def test_a25_an_equity_that_is_no_number_is_a_failed_read(equity: Any) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", answer(200, {**ACCOUNT, "equity": equity}))
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable, match="equity"):
            await broker.account()
        await broker.aclose()


@simulated
async def test_clock_and_calendar_come_back_in_utc_half_days_and_dst_right() -> None:
    rows = [
        {"date": "2026-03-06", "open": "09:30", "close": "16:00"},
        {"date": "2026-03-09", "open": "09:30", "close": "16:00", "session_open": "0400"},
        {"date": "2026-11-27", "open": "09:30", "close": "13:00"},
        {"date": "2029-01-02", "open": "09:30", "close": "16:00"},
    ]
    async with ScriptedServer() as server:
        server.on("GET", "/v2/calendar", answer(200, rows))
        server.on(
            "GET",
            "/v2/clock",
            answer(
                200,
                {
                    "timestamp": "2026-11-20T10:07:04.451420928-05:00",
                    "is_open": True,
                    "next_open": "2026-11-23T09:30:00-05:00",
                    "next_close": "2026-11-20T16:00:00-05:00",
                },
            ),
        )
        broker = broker_at(server.url)

        clock = await broker.clock()
        sessions = await broker.calendar(dt.date(2026, 3, 1), dt.date(2026, 12, 1))

        assert clock.now == dt.datetime(2026, 11, 20, 15, 7, 4, 451420, tzinfo=dt.UTC)
        assert clock.next_close.hour == 21
        assert [session.open.hour for session in sessions] == [14, 13, 14]
        assert [session.is_half_day for session in sessions] == [False, False, True]
        assert server.seen[1].params == {"start": "2026-03-01", "end": "2026-12-01"}
        await broker.aclose()


@simulated
async def test_assets_allow_only_what_is_said_and_unknown_symbols_are_absent() -> None:
    row = {"symbol": "AAPL", "status": "active", "tradable": True, "shortable": True}
    async with ScriptedServer() as server:
        server.on(
            "GET",
            "/v2/assets/AAPL",
            answer(200, {**row, "borrow_status": "easy_to_borrow", "fractionable": True}),
        )
        server.on("GET", "/v2/assets/GME", answer(200, {**row, "symbol": "GME"}))
        server.on(
            "GET",
            "/v2/assets/BRK.B",
            answer(200, {**row, "symbol": "BRK.B", "status": "inactive", "easy_to_borrow": True}),
        )
        broker = broker_at(server.url)

        assets = await broker.assets([Symbol(s) for s in ("GME", "AAPL", "NOPE", "BRK.B")])

        assert sorted(assets) == ["AAPL", "BRK.B", "GME"]
        assert assets[Symbol("AAPL")].is_shortable
        assert assets[Symbol("AAPL")].is_fractionable
        assert not assets[Symbol("GME")].is_shortable
        assert not assets[Symbol("BRK.B")].is_tradable
        await broker.aclose()


@simulated
async def test_many_assets_are_read_in_one_request() -> None:
    symbols = [Symbol(f"S{chr(65 + n)}") for n in range(20)]
    rows = [{"symbol": s, "status": "active", "tradable": True} for s in ("SA", "SB", "OTHER")]
    rows.append({"status": "active"})
    async with ScriptedServer() as server:
        server.on("GET", "/v2/assets", answer(200, rows))
        broker = broker_at(server.url)

        assets = await broker.assets(symbols)

        assert sorted(assets) == ["SA", "SB"]
        assert len(server.seen) == 1
        await broker.aclose()


@simulated
async def test_a_short_position_is_negative_whichever_way_the_server_says_it() -> None:
    rows = [
        position_json("AAPL", qty="-5", side="short"),
        position_json("MSFT", qty="5", side="short", current_price=None),
        position_json("TSLA", qty="0.123456789"),
    ]
    async with ScriptedServer() as server:
        server.on("GET", "/v2/positions", answer(200, rows))
        broker = broker_at(server.url)

        quantities = [position.quantity for position in await broker.positions()]

        assert quantities == [Decimal(-5), Decimal(-5), Decimal("0.123456789")]
        await broker.aclose()


@simulated
async def test_a18_an_empty_position_list_is_read_again_while_the_account_holds_something() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/positions", answer(200, []), answer(200, [position_json()]))
        server.on("GET", "/v2/account", answer(200, ACCOUNT))
        broker = broker_at(server.url)

        assert len(await broker.positions()) == 1
        await broker.aclose()


@simulated
async def test_a18_an_empty_position_list_that_stays_against_the_account_is_a_failed_read() -> None:
    without_values = {k: v for k, v in ACCOUNT.items() if not k.endswith("market_value")}
    for account in (ACCOUNT, without_values):
        async with ScriptedServer() as server:
            server.on("GET", "/v2/positions", answer(200, []))
            server.on("GET", "/v2/account", answer(200, account))
            broker = broker_at(server.url)

            with pytest.raises(BrokerUnavailable, match="account reports holdings"):
                await broker.positions()
            await broker.aclose()


@simulated
async def test_a18_flat_is_believed_when_the_account_agrees() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/positions", answer(200, []))
        server.on("GET", "/v2/account", answer(200, {**ACCOUNT, "long_market_value": "0"}))
        broker = broker_at(server.url)

        assert await broker.positions() == ()
        await broker.aclose()


@simulated
async def test_a17_a_page_instead_of_a_list_is_a_failed_read_and_never_an_empty_one() -> None:
    for step in (html(200), answer(200, {}), answer(200), answer(200, [1]), html(404)):
        async with ScriptedServer() as server:
            server.on("GET", "*", step)
            broker = broker_at(server.url)

            for read in (broker.positions, broker.open_orders, broker.account, broker.clock):
                with pytest.raises(BrokerUnavailable):
                    await read()
            await broker.aclose()


@pytest.mark.parametrize("step", [*SLOW, reset, html(500), html(502), html(504), answer(429)])
@simulated
async def test_a_read_that_fails_once_is_tried_again(step: Any) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", step, answer(200, ACCOUNT))
        broker = broker_at(server.url)

        await broker.account()

        assert server.count("GET") == 2
        await broker.aclose()


@pytest.mark.parametrize("step", [*SLOW, reset, html(503)])
@simulated
async def test_a31_a_read_gives_up_after_a_few_tries_within_a_minute(step: Any) -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account", step)
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable):
            await broker.account()

        assert server.count("GET") == 3
        assert loop.time() < 60
        await broker.aclose()


@simulated
async def test_a07_a_read_after_429_waits_as_long_as_the_server_asks() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedServer() as server:
        server.on(
            "GET", "/v2/account", answer(429, b"", {"Retry-After": "7"}), answer(200, ACCOUNT)
        )
        broker = broker_at(server.url)

        await broker.account()

        assert loop.time() == pytest.approx(7, abs=0.2)
        await broker.aclose()


@simulated
async def test_a12_refused_keys_are_not_tried_again() -> None:
    for step in (answer(401, {"message": "unauthorized."}), html(401)):
        async with ScriptedServer() as server:
            server.on("GET", "/v2/account", step)
            broker = broker_at(server.url)

            with pytest.raises(AuthRefused):
                await broker.account()

            assert len(server.seen) == 1
            await broker.aclose()


@simulated
async def test_a14_an_account_that_may_not_read_is_refused_keys_unless_a_gateway_says_so() -> None:
    forbidden = answer(403, {"code": 40310000, "message": "request is not authorized"})
    for step, error in ((forbidden, AuthRefused), (html(403), BrokerUnavailable)):
        async with ScriptedServer() as server:
            server.on("GET", "/v2/account", step)
            broker = broker_at(server.url)

            with pytest.raises(error):
                await broker.account()
            await broker.aclose()


@simulated
async def test_reads_slow_down_when_the_server_says_that_little_room_is_left() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedServer() as server:
        reset_at = str(int(START.timestamp()) + 40)
        little = {"X-RateLimit-Remaining": "15", "X-RateLimit-Reset": reset_at}
        server.on("GET", "/v2/account", answer(200, ACCOUNT, little))
        broker = broker_at(server.url)

        await broker.account()
        await broker.account()

        assert loop.time() == pytest.approx(40, abs=0.1)
        await broker.aclose()


@simulated
async def test_a04_absence_is_said_only_by_the_brokers_own_404() -> None:
    async with ScriptedServer() as server:
        server.on(
            "GET",
            "/v2/orders:by_client_order_id",
            answer(404, {"code": 40410000, "message": "order not found for ob-1"}),
        )
        server.on("GET", f"/v2/orders/{ORDER_ID}", html(404))
        broker = broker_at(server.url)

        assert await broker.find_order(ClientOrderId("ob-1")) is None
        with pytest.raises(BrokerUnavailable):
            await broker.get_order(ORDER_ID)
        await broker.aclose()


@simulated
async def test_an_order_is_found_by_our_id_whatever_characters_it_has() -> None:
    odd = "ob-1 &=/:%2F?#"
    async with ScriptedServer() as server:
        server.on(
            "GET",
            "/v2/orders:by_client_order_id",
            reply_with(lambda seen: order_json(client_order_id=seen.params["client_order_id"])),
        )
        broker = broker_at(server.url)

        found = await broker.find_order(ClientOrderId(odd))

        assert found is not None
        assert found.client_order_id == odd
        await broker.aclose()


@simulated
async def test_a24_a_look_up_that_answers_about_another_order_is_a_failed_read() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "*", answer(200, order_json(id="other", client_order_id="other")))
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable, match="about other"):
            await broker.find_order(ClientOrderId("ob-1"))
        with pytest.raises(BrokerUnavailable, match="about other"):
            await broker.get_order(ORDER_ID)
        await broker.aclose()


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *[
            (status, OrderState.LIVE)
            for status in (
                "new", "accepted", "pending_new", "partially_filled", "held", "done_for_day",
                "pending_replace", "pending_review", "accepted_for_bidding", "stopped",
                "suspended", "calculated", "restated", "some_status_of_2031",
            )
        ],
        ("pending_cancel", OrderState.CANCELING),
        ("filled", OrderState.FILLED),
        ("canceled", OrderState.CANCELED),
        ("expired", OrderState.EXPIRED),
        ("rejected", OrderState.REJECTED),
        ("replaced", OrderState.REPLACED),
    ],
)  # fmt: skip
@simulated
async def test_a26_only_words_that_mean_the_end_are_an_end(status: str, state: OrderState) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "*", answer(200, order_json(status=status)))
        broker = broker_at(server.url)

        order = await broker.get_order(ORDER_ID)

        assert order is not None
        assert (order.state, order.raw_status) == (state, status)
        await broker.aclose()


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize(
    ("cap", "knows_ids"), [(500, True), (39, True), (7, True), (1, True), (500, False)]
)
@simulated
async def test_a27_lists_are_complete_even_when_pages_come_short(
    cap: int, knows_ids: bool, count: int
) -> None:
    async with ScriptedServer() as server:
        page = order_list(listed(count), cap=cap, knows_ids=knows_ids)
        server.on("GET", "/v2/orders", reply_with(page))
        broker = broker_at(server.url)

        orders = await broker.open_orders()

        assert len({order.broker_order_id for order in orders}) == len(orders) == count
        assert {seen.params["status"] for seen in server.seen} == {"open"}
        await broker.aclose()


@simulated
async def test_a27_more_than_five_hundred_orders_of_one_instant_are_all_listed() -> None:
    held = listed(1203)
    async with ScriptedServer() as server:
        server.on("GET", "/v2/orders", reply_with(order_list(held)))
        broker = broker_at(server.url, max_connections=1)

        orders = await broker.orders_since(START)

        assert len({order.broker_order_id for order in orders}) == 1203
        assert {seen.params["status"] for seen in server.seen} == {"all"}
        assert server.seen[0].params["after"] == "2026-11-20T14:59:59.999000Z"
        await broker.aclose()


@simulated
async def test_a27_a_full_page_that_repeats_for_ever_is_an_error_and_no_list() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/orders", answer(200, listed(500)))
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable, match="cannot be read to its end"):
            await broker.open_orders()
        await broker.aclose()


@simulated
async def test_a27_one_row_that_cannot_be_read_fails_the_whole_list() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/orders", answer(200, [order_json(), order_json(side="north")]))
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable, match="north"):
            await broker.open_orders()
        await broker.aclose()


@simulated
async def test_activities_are_read_to_the_end_oldest_first_with_every_kind_mapped() -> None:
    fills = [
        {
            "activity_type": "FILL",
            "id": f"20261120150405498::{number:04}",
            "order_id": "61e69015",
            "symbol": "AAPL",
            "side": "sell_short",
            "qty": "4",
            "price": "189.24",
            "cum_qty": str(4 * number),
            "type": "partial_fill",
            "transaction_time": "2026-11-20T15:04:05.498765Z",
        }
        for number in range(1, 206)
    ]
    others = [
        {"activity_type": kind, "id": f"20261121000000000::{kind}", "date": "2026-11-20",
         "net_amount": "1.5", "symbol": "AAPL", "description": "x"}
        for kind in ("DIV", "DIVNRA", "INT", "FEE", "CSD", "JNLC", "SPLIT", "MA")
    ]  # fmt: skip

    def page(seen: Seen) -> list[dict[str, Any]]:
        rows = [*fills, *others]
        ids = [row["id"] for row in rows]
        start = ids.index(seen.params["page_token"]) + 1 if "page_token" in seen.params else 0
        return rows[start : start + int(seen.params["page_size"])]

    async with ScriptedServer() as server:
        server.on("GET", "/v2/account/activities", reply_with(page))
        broker = broker_at(server.url)

        activities = await broker.activities(START)

        assert len(activities) == 213
        first, last = activities[0], activities[-1]
        assert first.kind is ActivityKind.FILL
        assert (first.side, first.net_amount) == ("sell", Decimal("756.96"))
        assert first.client_order_id is None
        assert activities[204].cumulative_quantity == Decimal(820)
        assert [activity.kind.value for activity in activities[205:]] == [
            "DIV", "DIV", "INT", "FEE", "TRANSFER", "TRANSFER", "SPLIT", "OTHER",
        ]  # fmt: skip
        assert last.at == dt.datetime(2026, 11, 20, 5, tzinfo=dt.UTC)
        assert server.seen[0].params["after"] == "2026-11-20T15:00:00Z"
        await broker.aclose()


@simulated
async def test_a27_an_activity_log_that_ignores_its_cursor_is_an_error_and_no_log() -> None:
    rows = [
        {"activity_type": "FEE", "id": f"{number:04}", "date": "2026-11-20", "net_amount": "-1"}
        for number in range(100)
    ]
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account/activities", answer(200, rows))
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable, match="cannot be read to its end"):
            await broker.activities(START)
        await broker.aclose()


@pytest.mark.parametrize("status", [200, 204, 207])
@simulated
async def test_a29_a_cancel_that_was_taken_returns_and_claims_nothing(status: int) -> None:
    async with ScriptedServer() as server:
        server.on("DELETE", f"/v2/orders/{ORDER_ID}", answer(status))
        broker = broker_at(server.url)

        assert await broker.cancel(ORDER_ID) is None  # type: ignore[func-returns-value]
        await broker.aclose()


@pytest.mark.parametrize(
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


@simulated
async def test_a_cancel_without_a_connection_was_not_sent() -> None:
    broker = broker_at("http://paper-api.invalid")

    with pytest.raises(NotSent):
        await broker.cancel(ORDER_ID)
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
