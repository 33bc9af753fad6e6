"""Reads of the adapter: what is believed, what is tried again, and what is no answer."""

import asyncio
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from domain.errors import (
    AuthRefused,
    BrokerUnavailable,
)
from domain.ids import Symbol
from tests.support.alpaca_words import ACCOUNT, START, broker_at, simulated
from tests.support.scripted_server import (
    ScriptedServer,
    answer,
    hang,
    html,
    reset,
    trickle,
)

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
