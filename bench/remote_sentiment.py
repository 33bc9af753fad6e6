"""Headlines a second through Workers AI's wire, when each call takes 200 ms.

The double answers in the documented envelope; what is above its waiting time is ours:
cleaning, batching, the client, the checks of each answer.
"""

import asyncio
import contextlib
import datetime as dt
import json
import math
import re
from collections.abc import AsyncIterator

from bench.table import Row
from domain.clock import UTC, SystemClock
from domain.ids import Symbol
from domain.market import NewsItem
from domain.secrets import Secret
from sentiment.canaries import canaries
from sentiment.cloudflare import CloudflareScorer, CloudflareSettings

HEADLINES = 200
LATENCY_SECONDS = 0.2
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_ANSWERS = {"BULLISH": 0.9, "BEARISH": -0.9, "NEUTRAL": 0.0}
_NOON = dt.datetime(2022, 12, 14, 12, tzinfo=UTC)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    known = {canary.headline: _ANSWERS[canary.label] for canary in canaries()}
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            length = _LENGTH.search(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(length[1]) if length else 0)
            texts = json.loads(json.loads(body)["messages"][1]["content"])
            await asyncio.sleep(LATENCY_SECONDS)
            response = {"scores": [known.get(text, 0.5) for text in texts]}
            usage = {"prompt_tokens": 60, "completion_tokens": 10}
            result = {"response": response, "usage": usage}
            answer = json.dumps({"result": result, "success": True, "errors": []}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n"
            writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + answer)
            await writer.drain()


@contextlib.asynccontextmanager
async def _double() -> AsyncIterator[str]:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        # The handlers see the end of their connections before the loop ends.
        await asyncio.sleep(0.05)


async def _score() -> tuple[float, CloudflareSettings]:
    clock = SystemClock()
    items = [
        NewsItem(
            item_id=str(number),
            source="wire",
            published_at=_NOON - dt.timedelta(minutes=number + 1),
            headline=f"Maker number {number} beats estimates and raises its outlook",
            symbols=(Symbol(f"S{number % 100:03d}"),),
        )
        for number in range(HEADLINES)
    ]
    async with _double() as url:
        settings = CloudflareSettings(account_id="double", url=url, daily_neurons=1e9)
        scorer = CloudflareScorer.connect(settings, token=Secret("token"), clock=clock)
        # The canaries are asked once in many runs: not part of the figure.
        await scorer.score(items[:1], _NOON)
        start = clock.monotonic()
        scores = await scorer.score(items, _NOON)
        spent = clock.monotonic() - start
        await scorer.aclose()
    if len(scores) != min(HEADLINES, 100) or not all(one.score for one in scores.values()):
        raise RuntimeError("the double was not understood")
    return spent, settings


def measure() -> list[Row]:
    """Score 200 headlines."""
    spent, settings = asyncio.run(_score())
    rounds = math.ceil(HEADLINES / settings.batch_size / settings.concurrency)
    return [
        Row(
            name=f"headlines scored remotely, {settings.batch_size} a call,"
            f" {settings.concurrency} calls at once, 200 ms each",
            ours=HEADLINES / spent,
            floor=HEADLINES / (rounds * LATENCY_SECONDS),
            floor_name="the waiting alone",
            unit="1/s",
            command="python -m bench remote_sentiment",
        )
    ]
