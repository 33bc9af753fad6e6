"""Look-ups and lists of the adapter: absence, other orders' answers, and pages to their end."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from brokers.alpaca_parsing import OF_LEGS
from domain.account import ActivityKind
from domain.errors import (
    BrokerUnavailable,
)
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.orders import OrderState
from tests.support.alpaca_words import START, broker_at, order_json, simulated
from tests.support.scripted_server import (
    Exchange,
    ScriptedServer,
    Seen,
    answer,
    html,
    reply_with,
)

ORDER_ID = BrokerOrderId("61e69015")


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
async def test_a04_a_null_is_no_word_of_absence() -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/orders:by_client_order_id", answer(200, None))
        server.on("GET", f"/v2/orders/{ORDER_ID}", answer(200, None))
        server.on("GET", "/v2/assets/AAPL", answer(200, None))
        broker = broker_at(server.url)

        for read in (
            broker.find_order(ClientOrderId("ob-1")),
            broker.get_order(ORDER_ID),
            broker.assets([Symbol("AAPL")]),
        ):
            with pytest.raises(BrokerUnavailable, match="null"):
                await read
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


@simulated
async def test_an_order_of_several_option_legs_hides_no_other_open_order() -> None:
    # As Alpaca's OpenAPI of June 2026 shows one: what its legs have is empty.
    spread = order_json(
        id="spread",
        client_order_id="by-hand",
        symbol="",
        asset_class="",
        side="",
        order_class="mleg",
        qty="1",
        limit_price="-0.55",
    )
    async with ScriptedServer() as server:
        server.on("GET", "/v2/orders", answer(200, [spread, order_json()]), answer(200, []))
        broker = broker_at(server.url)

        found = {order.broker_order_id: order for order in await broker.open_orders()}

        assert set(found) == {"spread", "61e69015"}
        assert found[BrokerOrderId("spread")].symbol == OF_LEGS
        assert found[BrokerOrderId("spread")].quantity == 0
        assert not found[BrokerOrderId("spread")].state.is_terminal
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
async def test_a27_an_order_that_fills_between_two_pages_does_not_end_the_list() -> None:
    held = [
        order_json(id=f"id-{n}", client_order_id=f"ob-{n}", submitted_at=f"2026-11-20T15:04:{n}Z")
        for n in range(10, 50)
    ]
    page = order_list(held, cap=7)

    async def open_orders(exchange: Exchange) -> None:
        after = exchange.request.params.get("after_order_id", "")
        if after == "id-23":
            held[:] = [row for row in held if row["id"] != after]
            gone = {"code": 40410000, "message": f"order not found for {after}"}
            await answer(404, gone)(exchange)
        else:
            await answer(200, page(exchange.request))(exchange)

    async with ScriptedServer() as server:
        server.on("GET", "/v2/orders", open_orders)
        broker = broker_at(server.url)

        assert len(await broker.open_orders()) == 40
        await broker.aclose()


@simulated
async def test_a27_a_list_that_is_not_there_at_all_is_a_failed_read() -> None:
    async with ScriptedServer() as server:
        gone = {"code": 40410000, "message": "endpoint not found"}
        server.on("GET", "/v2/orders", answer(404, gone))
        broker = broker_at(server.url)

        with pytest.raises(BrokerUnavailable, match="cannot be read to its end"):
            await broker.open_orders()
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
        assert activities[-2].at.hour == 9, "shares of a split are there when its day trades"
        assert server.seen[0].params["after"] == "2026-11-20T15:00:00Z"
        await broker.aclose()


@simulated
async def test_money_that_the_broker_took_back_is_no_activity() -> None:
    rows = [
        {
            "activity_type": "CSD",
            "id": f"20261120000000000::{status}",
            "date": "2026-11-20",
            "net_amount": "50000",
            "status": status,
        }
        for status in ("executed", "canceled", "correct")
    ]
    async with ScriptedServer() as server:
        server.on("GET", "/v2/account/activities", answer(200, rows), answer(200, []))
        broker = broker_at(server.url)

        activities = await broker.activities(START)

        told = [activity.activity_id.rpartition(":")[2] for activity in activities]
        assert told == ["executed", "correct"]
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
