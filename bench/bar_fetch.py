"""Wall time to fetch daily bars of many symbols, beside the same bytes over plain HTTP.

A vendor double in a process of its own answers in Alpaca's form, 10,000 bars a page.  The
floor reads the same pages with a bare HTTP client, one connection per group of symbols as
ours has, and throws the bytes away.  The prices are made up.
"""

import asyncio
import itertools
import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from urllib.parse import parse_qsl, urlsplit

import httpx

from bench.table import Row
from daemon.event_loop import spare_collections
from domain.clock import SystemClock
from domain.ids import Symbol
from domain.secrets import Secret
from marketdata.alpaca import AlpacaBars, AlpacaDataSettings
from marketdata.session_calendar import NyseCalendar, day_start

SIZES = (100, 500)
YEARS = 5
_PAGE = 10_000
_GROUP = 50
_TURNS = 3
_COMMAND = "python -m bench bar_fetch"


def measure() -> list[Row]:
    """Fetch five years of daily bars of 100 and of 500 symbols, as the daemon's process does."""
    spare_collections()
    calendar = NyseCalendar()
    last = calendar.previous_session(SystemClock().now().date()).date
    start = last.replace(year=last.year - YEARS, day=1)
    dates = [day_start(one.date) for one in calendar.sessions(start, last)]
    here, there = multiprocessing.Pipe()
    stamps = [date.strftime("%Y-%m-%dT%H:%M:%SZ") for date in dates]
    vendor = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, stamps, max(SIZES)), daemon=True
    )
    vendor.start()
    try:
        port = here.recv()
        return [row for size in SIZES for row in _measure(port, size, calendar, len(dates))]
    finally:
        vendor.terminate()
        vendor.join()


def _measure(port: int, size: int, calendar: NyseCalendar, sessions: int) -> Iterator[Row]:
    clock = SystemClock()
    symbols = _symbols(size)
    last = calendar.previous_session(clock.now().date()).date
    start = last.replace(year=last.year - YEARS, day=1)

    async def ours() -> tuple[float, float]:
        source = AlpacaBars.connect(
            AlpacaDataSettings(data_url=f"http://127.0.0.1:{port}", group_size=_GROUP),
            key_id=Secret("key"),
            secret_key=Secret("secret"),
            clock=clock,
            calendar=calendar,
        )
        begin, worked = clock.monotonic(), time.process_time()
        bars = await source.daily_bars(symbols, start, last)
        spent = clock.monotonic() - begin, time.process_time() - worked
        await source.aclose()
        if sum(map(len, bars.values())) != size * sessions:
            raise RuntimeError("the fetch is not complete")
        return spent

    async def floor() -> float:
        begin = clock.monotonic()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await asyncio.gather(*(_drain(client, group) for group in _groups(symbols)))
        return clock.monotonic() - begin

    pairs = [(asyncio.run(ours()), asyncio.run(floor())) for _ in range(_TURNS)]
    yield Row(
        name=f"daily bars, {size} symbols x {YEARS} years",
        ours=min(wall for (wall, _), _ in pairs),
        floor=min(two for _, two in pairs),
        floor_name="same bytes, plain HTTP",
        unit="s",
        command=_COMMAND,
    )
    yield Row(
        name=f"daily bars, {size} symbols x {YEARS} years, our part of it",
        ours=1e6 * min(cpu for (_, cpu), _ in pairs) / (size * sessions),
        unit="us CPU a bar",
        command=_COMMAND,
    )


async def _drain(client: httpx.AsyncClient, group: list[Symbol]) -> None:
    token: str | None = ""
    while token is not None:
        reply = await client.get("/v2/stocks/bars", params=_params(group, token))
        # Only the token at the end is looked at: the floor parses nothing.
        tail = reply.content[-40:].decode()
        token = tail.split('"next_page_token":"')[1][:-2] if '"next_page_token":"' in tail else None


def _params(group: list[Symbol], token: str) -> Mapping[str, str]:
    params = {"symbols": ",".join(group)}
    return {**params, "page_token": token} if token else params


def _symbols(size: int) -> list[Symbol]:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = ("".join(three) for three in itertools.product(letters, repeat=3))
    return [Symbol(name) for name in itertools.islice(names, size)]


def _groups(symbols: list[Symbol]) -> list[list[Symbol]]:
    return [symbols[place : place + _GROUP] for place in range(0, len(symbols), _GROUP)]


def _serve(pipe: Connection, stamps: list[str], most: int) -> None:
    pages = {group[0]: _pages(group, stamps) for group in _groups(_symbols(most))}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                params = dict(parse_qsl(urlsplit(target).query))
                first = Symbol(params["symbols"].split(",")[0])
                body = pages[first][int(params.get("page_token") or 0)]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def _pages(group: list[Symbol], stamps: list[str]) -> list[bytes]:
    rows = [(symbol, number) for symbol in group for number in range(len(stamps))]
    chunks = [rows[place : place + _PAGE] for place in range(0, len(rows), _PAGE)]
    return [
        _page(chunk, stamps, str(number + 1) if number + 1 < len(chunks) else None)
        for number, chunk in enumerate(chunks)
    ]


def _page(rows: list[tuple[Symbol, int]], stamps: list[str], token: str | None) -> bytes:
    bars: dict[str, list[dict[str, object]]] = {}
    for symbol, number in rows:
        close = 100 + (number * 37 % 1000) / 100
        bar = {
            "t": stamps[number],
            "o": round(close - 0.25, 2),
            "h": round(close + 1.5, 2),
            "l": round(close - 1.5, 2),
            "c": round(close, 2),
            "v": 1_000_000 + number,
            "n": 9_000,
            "vw": round(close, 4),
        }
        bars.setdefault(symbol, []).append(bar)
    return json.dumps({"bars": bars, "next_page_token": token}, separators=(",", ":")).encode()
