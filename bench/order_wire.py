"""What sending orders costs: our adapter beside a bare asyncio client and beside alpaca-py.

The server is another process that answers every POST after a fixed time.  Ours and the
floor take turns on the same number of connections, so that a busy machine slows both
alike; figures are medians of the turns.  Our pacing is set far above the server's speed.
"""

import asyncio
import datetime as dt
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal

from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest

from bench.table import Row
from brokers.alpaca import AlpacaBroker, AlpacaSettings
from domain import orders
from domain.clock import SystemClock
from domain.ids import ClientOrderId, Symbol
from domain.secrets import Secret
from transport.pacing import PacingSettings

ORDERS = 500
CONNECTIONS = 8
DELAY_SECONDS = 0.02
TURNS = 5
COMMAND = "python -m bench order_wire"
FREE_PACE = PacingSettings(per_window=10**9)

SERVER = r"""
import asyncio, json, re, sys

DELAY = float(sys.argv[1])
LENGTH = re.compile(rb"(?i)content-length: (\d+)")

class Peer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.buffer, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            body, self.buffer = self.buffer[end + 4 : size], self.buffer[size:]
            reply = answer(json.loads(body))
            if DELAY:
                asyncio.get_running_loop().call_later(DELAY, self.transport.write, reply)
            else:
                self.transport.write(reply)

def answer(sent):
    moment = "2026-11-20T15:04:05.123456789Z"
    nothing = dict.fromkeys(("filled_at", "expired_at", "canceled_at", "failed_at", "replaced_at",
        "replaced_by", "replaces", "notional", "filled_avg_price", "stop_price", "legs",
        "trail_percent", "trail_price", "hwm", "subtag", "source"))
    order = {**nothing, "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": sent["client_order_id"], "created_at": moment, "updated_at": moment,
        "submitted_at": moment, "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
        "symbol": sent["symbol"], "asset_class": "us_equity",
        "qty": str(sent["qty"]).removesuffix(".0"),
        "filled_qty": "0", "order_class": "", "order_type": "limit", "type": "limit",
        "side": sent["side"], "position_intent": "buy_to_open", "time_in_force": "day",
        "limit_price": str(sent["limit_price"]), "status": "pending_new", "extended_hours": False}
    body = json.dumps(order).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

async def main():
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def measure() -> list[Row]:
    """Measure wall time against a bare client and CPU time against alpaca-py."""
    slow = subprocess.Popen(
        (sys.executable, "-c", SERVER, str(DELAY_SECONDS)), stdout=subprocess.PIPE, text=True
    )
    fast = subprocess.Popen((sys.executable, "-c", SERVER, "0"), stdout=subprocess.PIPE, text=True)
    try:
        slow_port, fast_port = _port(slow), _port(fast)
        return [_wall_row(slow_port), _cpu_row(fast_port)]
    finally:
        for process in (slow, fast):
            process.kill()
            process.wait()


def _wall_row(port: int) -> Row:
    async def turns() -> tuple[float, float]:
        ours: list[float] = []
        floor: list[float] = []
        broker = _broker(port)
        for _ in range(TURNS + 1):
            ours.append(await _timed(lambda: _send_all(broker)))
            floor.append(await _timed(lambda: _send_bare(port)))
        await broker.aclose()
        # The first turn opens connections and imports the SDK's models.
        return statistics.median(ours[1:]), statistics.median(floor[1:])

    ours, floor = asyncio.run(turns())
    return Row(
        name=f"{ORDERS} orders, 20 ms server, {CONNECTIONS} connections",
        ours=ours * 1000,
        unit="ms",
        floor=floor * 1000,
        floor_name="bare asyncio client",
        target="<= 1.25",
        command=COMMAND,
    )


def _cpu_row(port: int) -> Row:
    async def ours_once(broker: AlpacaBroker) -> float:
        before = _cpu_seconds()
        await _send_all(broker)
        return _cpu_seconds() - before

    async def turns() -> tuple[float, float]:
        ours: list[float] = []
        theirs: list[float] = []
        broker = _broker(port)
        for _ in range(TURNS + 1):
            ours.append(await ours_once(broker))
            theirs.append(_send_by_sdk(port))
        await broker.aclose()
        return statistics.median(ours[1:]), statistics.median(theirs[1:])

    ours, theirs = asyncio.run(turns())
    return Row(
        name=f"client CPU for one order, {CONNECTIONS} at once, instant server",
        ours=ours / ORDERS * 1e6,
        unit="us",
        floor=theirs / ORDERS * 1e6,
        floor_name="alpaca-py submit_order, one at a time",
        target="<= 1",
        command=COMMAND,
    )


def _broker(port: int) -> AlpacaBroker:
    settings = AlpacaSettings(
        trading_url=f"http://127.0.0.1:{port}",
        pacing=FREE_PACE,
        max_connections=CONNECTIONS,
    )
    return AlpacaBroker.connect(
        settings, key_id=Secret("K"), secret_key=Secret("S"), clock=SystemClock()
    )


async def _send_all(broker: AlpacaBroker) -> None:
    queue = list(range(ORDERS))

    async def worker() -> None:
        while queue:
            await broker.submit(limit_order(queue.pop()), guard=lambda: None)

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


async def _send_bare(port: int) -> None:
    queue = list(range(ORDERS))

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while queue:
            writer.write(_bare_request(queue.pop()))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rpartition(b": ")[2]))
        writer.close()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


def _send_by_sdk(port: int) -> float:
    client = TradingClient("K", "S", url_override=f"http://127.0.0.1:{port}")
    client._session.trust_env = False
    before = _cpu_seconds()
    for number in range(ORDERS):
        client.submit_order(
            LimitOrderRequest(
                symbol="AAPL",
                qty=10,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.DAY,
                limit_price=189.25,
                client_order_id=f"ob-{number}",
            )
        )
    spent = _cpu_seconds() - before
    client._session.close()
    return spent


def _bare_request(number: int) -> bytes:
    fields = {
        "symbol": "AAPL",
        "qty": "10",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "limit_price": "189.25",
        "client_order_id": f"ob-{number}",
    }
    body = json.dumps(fields).encode()
    return b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def limit_order(number: int) -> orders.OrderRequest:
    """Return one order of the measurement."""
    return orders.OrderRequest(
        client_order_id=ClientOrderId(f"ob-{number}"),
        strategy="bench",
        session_date=dt.date(2026, 11, 20),
        symbol=Symbol("AAPL"),
        side=orders.Side.BUY,
        quantity=Decimal(10),
        order_type=orders.OrderType.LIMIT,
        limit_price=Decimal("189.25"),
        time_in_force=orders.TimeInForce.DAY,
        leg="entry",
        revision=0,
        decision_price=Decimal(189),
        reason="",
    )


async def _timed(send: Callable[[], Awaitable[None]]) -> float:
    before = time.perf_counter()
    await send()
    return time.perf_counter() - before


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _port(process: subprocess.Popen[str]) -> int:
    if process.stdout is None:
        raise OSError("the server of the measurement did not start")
    return int(process.stdout.readline())
