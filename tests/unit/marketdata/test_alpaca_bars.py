"""Against the wire format of Alpaca's OpenAPI for market data (June 2026)."""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from domain.clock import UTC, ManualClock
from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.alpaca import AlpacaBars, AlpacaDataSettings
from marketdata.events import EventKind
from marketdata.session_calendar import NyseCalendar
from tests.support.scripted_server import (
    ScriptedServer,
    Seen,
    answer,
    cut,
    endless,
    hang,
    html,
    reply_with,
    reset,
)
from transport.http import Deadlines

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
BARS = "/v2/stocks/bars"
START, END = dt.date(2022, 12, 12), dt.date(2022, 12, 14)
EVENING = dt.datetime(2022, 12, 14, 22, tzinfo=UTC)

Connect = Callable[..., AlpacaBars]


def bar(day: int, close: float = 143.21, hour: str = "05:00:00") -> dict[str, Any]:
    return {
        "t": f"2022-12-{day:02d}T{hour}Z",
        "o": close - 0.5,
        "h": close + 1,
        "l": close - 1,
        "c": close,
        "v": 82291200,
        "n": 1403,
        "vw": 142.9,
    }


def page(bars: dict[str, list[Any]], token: str | None = None) -> dict[str, Any]:
    return {"bars": bars, "next_page_token": token}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock(EVENING)


@pytest.fixture
async def connect(server: ScriptedServer, clock: ManualClock) -> AsyncIterator[Connect]:
    made: list[AlpacaBars] = []

    def build(**changes: Any) -> AlpacaBars:
        settings = AlpacaDataSettings(data_url=server.url, **changes)
        source = AlpacaBars.connect(
            settings,
            key_id=Secret("key-of-a-test"),
            secret_key=Secret("secret-of-a-test"),
            clock=clock,
            calendar=NyseCalendar(),
        )
        made.append(source)
        return source

    yield build
    for source in made:
        await source.aclose()


async def test_daily_bars_are_read_by_symbol_with_exact_prices(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", BARS, answer(200, page({"AAPL": [bar(13), bar(14, 143.22)]})))

    bars = await connect().daily_bars([MSFT, AAPL], START, END)

    assert list(bars) == ["AAPL"]
    assert [one.close for one in bars[AAPL]] == [143.21, 143.22]
    assert bars[AAPL][0].at == dt.datetime(2022, 12, 13, 5, tzinfo=UTC)
    assert bars[AAPL][0].volume == 82291200


async def test_the_request_names_feed_span_and_adjustment(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", BARS, answer(200, page({})))

    await connect(feed="sip").daily_bars([MSFT, AAPL], START, END)

    (seen,) = server.seen
    assert seen.params["symbols"] == "AAPL,MSFT"
    assert seen.params["timeframe"] == "1Day"
    assert seen.params["feed"] == "sip"
    assert seen.params["adjustment"] == "split"
    assert seen.params["start"] == "2022-12-12T05:00:00+00:00"
    assert seen.params["end"] == "2022-12-15T04:00:00+00:00"
    assert seen.headers["apca-api-key-id"] == "key-of-a-test"
    assert seen.headers["apca-api-secret-key"] == "secret-of-a-test"


async def test_pages_are_followed_to_the_end(server: ScriptedServer, connect: Connect) -> None:
    server.on(
        "GET",
        BARS,
        answer(200, page({"AAPL": [bar(12)]}, "two")),
        answer(200, page({"AAPL": [bar(13)], "MSFT": [bar(12)]}, "three")),
        answer(200, page({"MSFT": [bar(13)]})),
    )

    bars = await connect().daily_bars([AAPL, MSFT], START, END)

    assert [len(bars[symbol]) for symbol in (AAPL, MSFT)] == [2, 2]
    assert [seen.params.get("page_token") for seen in server.seen] == [None, "two", "three"]


async def test_pages_without_end_are_stopped(
    server: ScriptedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.alpaca._MOST_PAGES", 5)
    server.on("GET", BARS, answer(200, page({"AAPL": [bar(12)]}, "")))

    with pytest.raises(ProviderUnavailable, match="no end"):
        await connect().daily_bars([AAPL], START, END)

    assert len(server.seen) == 5


async def test_many_symbols_are_asked_in_groups_side_by_side(
    server: ScriptedServer, connect: Connect
) -> None:
    def reply(seen: Seen) -> Any:
        return page({symbol: [bar(14)] for symbol in seen.params["symbols"].split(",")})

    server.on("GET", BARS, reply_with(reply))
    symbols = [Symbol(f"S{number}") for number in range(7)]

    bars = await connect(group_size=3).daily_bars(symbols, START, END)

    assert sorted(bars) == symbols
    assert sorted(len(seen.params["symbols"].split(",")) for seen in server.seen) == [1, 3, 3]


async def test_the_session_under_way_is_not_asked_for(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    clock.advance(dt.timedelta(hours=-2))
    server.on("GET", BARS, answer(200, page({"AAPL": [bar(13)]})))

    await connect().daily_bars([AAPL], START, END)

    assert server.seen[0].params["end"] == "2022-12-14T04:00:00+00:00"


async def test_a_span_in_the_future_asks_nothing(server: ScriptedServer, connect: Connect) -> None:
    assert await connect().daily_bars([AAPL], dt.date(2022, 12, 20), dt.date(2022, 12, 21)) == {}
    assert server.seen == []


@pytest.mark.parametrize(
    "bad",
    [
        {**bar(13), "c": -1},
        {**bar(13), "h": 1},
        {**bar(13), "c": None},
        {**bar(13), "t": "yesterday"},
        {**bar(13), "t": "0001-01-01T00:00:00Z"},
        {**bar(13), "v": -5},
        {**bar(13), "v": 10**400},
        {"c": 1},
        "not a bar",
        None,
    ],
)
async def test_an_impossible_row_leaves_a_hole_and_nothing_else(
    server: ScriptedServer, connect: Connect, bad: Any
) -> None:
    server.on("GET", BARS, answer(200, page({"AAPL": [bar(12), bad, bar(14)]})))

    bars = await connect().daily_bars([AAPL], START, END)

    assert [one.at.day for one in bars[AAPL]] == [12, 14]


async def test_g11_two_different_bars_of_one_day_are_both_dropped(
    server: ScriptedServer, connect: Connect
) -> None:
    rows = [bar(12), bar(13), bar(13, 150), bar(14), bar(14)]
    server.on("GET", BARS, answer(200, page({"AAPL": rows})))

    bars = await connect().daily_bars([AAPL], START, END)

    assert [one.at.day for one in bars[AAPL]] == [12, 14]


async def test_g02_numbers_json_does_not_have_are_refused(
    server: ScriptedServer, connect: Connect
) -> None:
    text = json.dumps(page({"AAPL": [bar(13)]})).replace("143.21", "NaN", 1)
    server.on("GET", BARS, answer(200, text.encode()))

    with pytest.raises(ProviderUnavailable, match="cannot be read"):
        await connect().daily_bars([AAPL], START, END)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"<html>", b'{"bars": null}', b'{"bars": {}, "quotes": {}}'],
)
async def test_an_answer_of_another_shape_is_an_unavailable_source(
    server: ScriptedServer, connect: Connect, body: bytes
) -> None:
    server.on("GET", BARS, answer(200, body))

    with pytest.raises(ProviderUnavailable, match="cannot be read"):
        await connect().daily_bars([AAPL], START, END)


async def test_g12_a_rate_limit_is_waited_out(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    limited = answer(429, {"message": "too many requests."}, {"Retry-After": "7"})
    server.on("GET", BARS, limited, answer(200, page({"AAPL": [bar(14)]})))

    bars = await connect().daily_bars([AAPL], START, END)

    assert len(bars[AAPL]) == 1
    assert clock.monotonic() == 7


async def test_a_rate_limit_that_names_its_reset_is_waited_out(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    moment = str(int(EVENING.timestamp()) + 12)
    server.on(
        "GET",
        BARS,
        answer(429, {"message": "too many requests."}, {"X-RateLimit-Reset": moment}),
        answer(200, page({})),
    )

    await connect().daily_bars([AAPL], START, END)

    assert clock.monotonic() == 12


async def test_g12_a_failing_server_is_asked_three_times(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", BARS, html(504))

    with pytest.raises(ProviderUnavailable, match="HTTP 504"):
        await connect().daily_bars([AAPL], START, END)

    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (401, {"message": "unauthorized."}, "APCA_API_KEY_ID"),
        (403, {"message": "forbidden."}, "APCA_API_KEY_ID"),
        (
            403,
            {
                "code": 42210000,
                "message": "subscription does not permit querying recent SIP data",
            },
            'feed = "iex"',
        ),
        (400, {"message": "invalid symbol"}, "HTTP 400"),
        (422, {"message": "bad start"}, "HTTP 422"),
    ],
)
async def test_a_refusal_is_final_and_says_what_to_do(
    server: ScriptedServer, connect: Connect, status: int, body: Any, hint: str
) -> None:
    server.on("GET", BARS, answer(status, body))

    with pytest.raises(ProviderUnavailable, match=hint) as caught:
        await connect().daily_bars([AAPL], START, END)

    assert len(server.seen) == 1
    assert "secret-of-a-test" not in str(caught.value)


async def test_a_redirect_is_not_followed(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", BARS, answer(302, b"", {"Location": f"{server.url}/elsewhere"}))

    with pytest.raises(ProviderUnavailable):
        await connect().daily_bars([AAPL], START, END)

    assert server.count("GET", "/elsewhere") == 0


async def test_g12_a_silent_server_is_cut_off(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", BARS, hang)
    source = connect(deadlines=Deadlines(read_seconds=0.2, total_seconds=0.2))

    with pytest.raises(ProviderUnavailable, match="timeout"):
        await asyncio.wait_for(source.daily_bars([AAPL], START, END), 5)


async def test_a_whole_fetch_has_a_deadline_and_leaves_no_thread_behind(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", BARS, hang)
    source = connect(fetch_seconds=0.2, deadlines=Deadlines(read_seconds=1, total_seconds=1))

    with pytest.raises(ProviderUnavailable, match=r"within 0\.2 s"):
        await source.daily_bars([AAPL], START, END)

    await asyncio.get_running_loop().shutdown_default_executor()


async def test_an_answer_that_breaks_off_is_no_answer(
    server: ScriptedServer, connect: Connect
) -> None:
    server.on("GET", BARS, cut(page({"AAPL": [bar(13)]}), at=40))

    with pytest.raises(ProviderUnavailable, match="broken"):
        await connect().daily_bars([AAPL], START, END)

    assert len(server.seen) == 3


async def test_a_reset_connection_is_asked_again(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", BARS, reset, answer(200, page({"AAPL": [bar(14)]})))

    assert len((await connect().daily_bars([AAPL], START, END))[AAPL]) == 1


async def test_g10_an_endless_answer_is_cut(server: ScriptedServer, connect: Connect) -> None:
    server.on("GET", BARS, endless(b" " * 65536))

    with pytest.raises(ProviderUnavailable, match="too_large"):
        await connect().daily_bars([AAPL], START, END)


async def test_minute_bars_stop_before_the_minute_under_way(
    server: ScriptedServer, connect: Connect, clock: ManualClock
) -> None:
    clock.advance(dt.timedelta(hours=-3, seconds=30))
    rows = [bar(14, hour="15:00:00"), bar(14, hour="15:05:00")]
    server.on("GET", BARS, answer(200, page({"AAPL": rows})))
    start = dt.datetime(2022, 12, 14, 15, tzinfo=UTC)

    bars = await connect().minute_bars([AAPL], start, clock.now(), minutes=5)

    assert [one.at.minute for one in bars[AAPL]] == [0, 5]
    assert server.seen[0].params["timeframe"] == "5Min"
    assert server.seen[0].params["end"] == "2022-12-14T18:55:30+00:00"


async def test_corporate_actions_become_events(server: ScriptedServer, connect: Connect) -> None:
    actions = {
        "forward_splits": [
            {"symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2020-08-31"}
        ],
        "cash_dividends": [
            {"symbol": "AAPL", "rate": 0.205, "ex_date": "2020-08-07"},
            {"symbol": "OTHER", "rate": 1, "ex_date": "2020-08-07"},
            {"rate": 1},
            {"symbol": "AAPL", "ex_date": "soon"},
        ],
        "name_changes": [{"old_symbol": "FB", "new_symbol": "META", "process_date": "2022-06-09"}],
        "something_new": [{"symbol": "AAPL", "ex_date": "2020-08-07"}],
    }
    server.on(
        "GET",
        "/v1/corporate-actions",
        answer(200, {"corporate_actions": actions, "next_page_token": None}),
    )

    events = await connect().events(
        [AAPL, Symbol("FB")], dt.date(2020, 1, 1), dt.date(2022, 12, 14)
    )

    assert [(event.symbol, event.kind, event.date.isoformat()) for event in events] == [
        ("AAPL", EventKind.DIVIDEND, "2020-08-07"),
        ("AAPL", EventKind.SPLIT, "2020-08-31"),
        ("FB", EventKind.RENAME, "2022-06-09"),
    ]


async def test_keys_are_in_no_log(
    server: ScriptedServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("GET", BARS, answer(200, page({"AAPL": [bar(14)]})))

    await connect().daily_bars([AAPL], START, END)

    assert "secret-of-a-test" not in caplog.text
    assert "key-of-a-test" not in caplog.text
