"""The server on a plain event loop, where time passes by itself."""

import asyncio
from pathlib import Path
from typing import Any

from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server import PaperServer
from domain.clock import LoopClock, SystemClock
from tests.support.broker_doors import sdk_client
from tests.support.exchange_world import calendar, feed, moment


async def test_order_fills_within_real_milliseconds(tmp_path: Path) -> None:
    clock = LoopClock(moment("10:00"), asyncio.get_running_loop())
    async with PaperServer(
        tmp_path,
        feed=feed(),
        calendar=calendar(),
        clock=clock,
        settings=ExchangeSettings(partial_fraction=0.0),
    ) as server:
        client: Any = sdk_client(server)
        request = MarketOrderRequest(
            symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
        )
        order = await asyncio.to_thread(client.submit_order, request)
        async with asyncio.timeout(10):
            while server.exchange.order(str(order.id)).status != "filled":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        found = await asyncio.to_thread(client.get_order_by_id, order.id)

    assert found.status.value == "filled"


async def test_server_follows_the_machines_clock_after_its_recording_ended(
    tmp_path: Path,
) -> None:
    clock = SystemClock()
    async with PaperServer(tmp_path, feed=feed(), calendar=calendar(), clock=clock) as server:
        assert abs((server.venue.now() - clock.now()).total_seconds()) < 5
        client: Any = sdk_client(server)
        account = await asyncio.to_thread(client.get_account)

    assert account.equity == "100000"
