"""A recorded day with vendors outside: Alpaca's data and news API, and Workers AI.

The embedded paper server stands for Alpaca, a scripted server for Cloudflare; daemon and
servers share one replay loop, and everything between them crosses loopback sockets.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from brokers.exchange.daily_path import DailyPath
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server import Keys, PaperServer, ServerOptions
from daemon.config import Config, load
from domain.clock import LoopClock
from domain.ids import Symbol
from domain.market import NewsItem
from marketdata.recording import recording
from marketdata.session_calendar import NyseCalendar
from tests.support.scripted_server import ScriptedServer
from tests.support.workers_ai import ACCOUNT
from transport.replay_loop import ReplayLoop

START = dt.datetime(2022, 11, 14, 12, tzinfo=dt.UTC)
SYMBOLS = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
ENVIRON = {
    "APCA_API_KEY_ID": "PKVENDORDAY",
    "APCA_API_SECRET_KEY": "vendor-day-on-loopback",
    "CLOUDFLARE_API_TOKEN": "cf-token",
}

Result = TypeVar("Result")


@dataclass
class VendorDay:
    """The servers, and where the daemon keeps its state."""

    alpaca: PaperServer
    cloudflare: ScriptedServer
    directory: Path

    def config(self, **environ: str) -> Config:
        """Return a configuration that names both servers; ``environ`` overrides keys."""
        path = self.directory / "config.toml"
        symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS)
        path.write_text(
            f"""
            [universe]
            symbols = [{symbols}]
            [clock]
            kind = "replay"
            start = "{START.isoformat()}"
            [broker]
            kind = "alpaca"
            [broker.alpaca]
            trading_url = "{self.alpaca.base_url}"
            trade_stream_url = "{self.alpaca.stream_url}"
            [marketdata]
            provider = "alpaca"
            [marketdata.alpaca]
            data_url = "{self.alpaca.data_url}"
            [news]
            provider = "alpaca"
            [sentiment.cloudflare]
            url = "{self.cloudflare.url}"
            account_id = "{ACCOUNT}"
            [state]
            directory = "{self.directory / "state"}"
            """,
            encoding="utf-8",
        )
        return load(path, environ)


@contextlib.asynccontextmanager
async def vendor_day(directory: Path, *news: NewsItem) -> AsyncIterator[VendorDay]:
    """Start both servers; call it on the replay loop."""
    calendar = NyseCalendar()
    clock = LoopClock(START, asyncio.get_running_loop())
    first, last = START.date() - dt.timedelta(days=900), START.date() + dt.timedelta(days=5)
    bars = {Symbol(name): recording().bars(Symbol(name), first, last) for name in SYMBOLS}
    options = ServerOptions(
        keys=Keys(key_id=ENVIRON["APCA_API_KEY_ID"], secret_key=ENVIRON["APCA_API_SECRET_KEY"]),
        news=news,
    )
    server = PaperServer(
        directory / "alpaca",
        feed=DailyPath(bars, calendar.sessions(first, last)),
        calendar=calendar,
        clock=clock,
        settings=ExchangeSettings(),
        options=options,
    )
    async with server as alpaca, ScriptedServer() as cloudflare:
        yield VendorDay(alpaca, cloudflare, directory)


def on_replay_loop(main: Coroutine[Any, Any, Result], *, speed: float = 0.0) -> Result:
    """Run to the end on simulated time."""
    with asyncio.Runner(loop_factory=lambda: ReplayLoop(speed=speed)) as runner:
        return runner.run(main)


def story(number: int, headline: str, *symbols: str, source: str = "wire") -> NewsItem:
    """Return a headline of the evening before."""
    return NewsItem(
        item_id=str(number),
        source=source,
        published_at=START - dt.timedelta(hours=10, minutes=number),
        headline=headline,
        symbols=tuple(Symbol(symbol) for symbol in symbols),
    )
