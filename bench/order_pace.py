"""500 orders under Alpaca's 200 requests a minute: how long, and how many were refused.

Simulated time against the paper server, which counts in fixed minutes like the original;
the adapter does not know where their edges are.  The floor is the schedule's own: 200 at
once, 200 a minute later, the rest after two.
"""

import asyncio
import dataclasses
import tempfile
from pathlib import Path

import httpx

from bench.order_wire import limit_order
from bench.table import Row
from brokers.alpaca import AlpacaBroker, AlpacaSettings
from brokers.base import SendGuard
from daemon.config import Config, StateConfig, Universe
from daemon.connection import start_clock
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, Credentials
from daemon.embedded import embedded_broker
from domain.money import decimal
from marketdata.session_calendar import NyseCalendar
from transport.replay_loop import ReplayLoop

ORDERS = 500
PER_MINUTE = 200
FLOOR_SECONDS = 60.0 * ((ORDERS - 1) // PER_MINUTE)
START = "2022-11-14T08:00:00-05:00"
COMMAND = "python -m bench order_pace"
_TOO_MANY = 429
_AT_ONCE = 8


def measure() -> list[Row]:
    """Send in simulated time; return seconds and refusals."""
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=ReplayLoop) as runner,
    ):
        seconds, refusals = runner.run(_paced(Path(folder)))
    return [
        Row(
            name=f"{ORDERS} orders at {PER_MINUTE} requests a minute (simulated)",
            ours=seconds,
            unit="s",
            floor=FLOOR_SECONDS,
            floor_name="the schedule",
            target="floor + 2 s",
            command=COMMAND,
        ),
        Row(
            name="- of them refused for too many requests",
            ours=refusals,
            unit="of 500",
            target="0",
            command=COMMAND,
        ),
    ]


async def _paced(folder: Path) -> tuple[float, int]:
    base = Config(universe=Universe(symbols=("AAPL",)))
    config = dataclasses.replace(
        base,
        clock=dataclasses.replace(base.clock, kind="replay", start=START),
        state=StateConfig(directory=str(folder)),
    )
    credentials = Credentials.of(config)
    clock = start_clock(config)
    server = embedded_broker(config, clock=clock, calendar=NyseCalendar(), credentials=credentials)
    async with server:
        broker = AlpacaBroker.connect(
            AlpacaSettings(trading_url=server.base_url),
            key_id=credentials.require(BROKER_KEY_ID),
            secret_key=credentials.require(BROKER_SECRET_KEY),
            clock=clock,
        )
        try:
            began = clock.monotonic()
            await _send_all(broker)
            return clock.monotonic() - began, await _refusals(server.base_url)
        finally:
            await broker.aclose()


async def _send_all(broker: AlpacaBroker) -> None:
    queue = list(range(ORDERS))
    guard: SendGuard = _nobody_objects

    async def worker() -> None:
        while queue:
            order = dataclasses.replace(
                limit_order(queue.pop()), quantity=decimal("1"), limit_price=decimal("100.00")
            )
            await broker.submit(order, guard=guard)

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


def _nobody_objects() -> None:
    return None


async def _refusals(url: str) -> int:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        rows = (await client.get("/_openbell/log", params={"method": "POST"})).json()
    return sum(row["status"] == _TOO_MANY for row in rows)
