import asyncio
import contextlib
import datetime as dt
import string
from collections.abc import Mapping, Sequence

from daemon import event_loop
from daemon.config import load
from domain.clock import SystemClock
from domain.ids import Symbol
from domain.market import Bar
from domain.secrets import Secret
from marketdata.alpaca import AlpacaBars, AlpacaDataSettings
from marketdata.session_calendar import NyseCalendar
from sentiment.alpaca import AlpacaNews, AlpacaNewsSettings
from tests.support.running import REPOSITORY
from tests.support.scripted_server import ScriptedServer, Seen, reply_with

SYMBOLS = [Symbol(f"A{one}{two}") for one in string.ascii_uppercase[:20] for two in "ABCDEFGHIJ"]
DAY = dt.date(2022, 12, 14)
CONFIG = load(REPOSITORY / "config.toml", {})


def bars_of(seen: Seen) -> dict[str, object]:
    bar = {"t": "2022-12-14T05:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 9}
    return {
        "bars": {symbol: [bar] for symbol in seen.params["symbols"].split(",")},
        "next_page_token": None,
    }


async def _gathered() -> Mapping[Symbol, Sequence[Bar]]:
    key, secret, clock = Secret("k"), Secret("s"), SystemClock()
    until = dt.datetime(2022, 12, 14, 13, tzinfo=dt.UTC)
    async with ScriptedServer() as server:
        server.on("GET", "/v2/stocks/bars", reply_with(bars_of))
        server.on("GET", "/v1beta1/news", reply_with(lambda _: {"news": []}))
        # By name: an address that must be looked up, as a vendor's.
        url = server.url.replace("127.0.0.1", "localhost")
        bars = AlpacaBars.connect(
            AlpacaDataSettings(data_url=url),
            key_id=key,
            secret_key=secret,
            clock=clock,
            calendar=NyseCalendar(),
        )
        news = AlpacaNews.connect(
            AlpacaNewsSettings(data_url=url), key_id=key, secret_key=secret, clock=clock
        )
        async with contextlib.aclosing(bars), contextlib.aclosing(news):
            found, _ = await asyncio.gather(
                bars.daily_bars(SYMBOLS, DAY, DAY),
                news.headlines(SYMBOLS, until - dt.timedelta(days=3), until),
            )
        return found


def test_vendors_of_many_symbols_leave_room_to_look_up_their_names() -> None:
    assert len(event_loop.run(CONFIG, _gathered(), speed=1)) == len(SYMBOLS)
