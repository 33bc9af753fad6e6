"""The live market, where ``marketdata.stream`` asks for it."""

import contextlib
from collections.abc import AsyncIterator

from daemon.config import Config
from daemon.sources.bar_feed import alpaca_bars, data_keys
from domain.clock import Clock
from domain.ids import Symbol
from marketdata.base import SessionCalendar
from marketdata.board import MarketBoard


@contextlib.asynccontextmanager
async def open_board(
    config: Config, *, clock: Clock, calendar: SessionCalendar, time_scale: float
) -> AsyncIterator[MarketBoard | None]:
    """Listen to Alpaca's stream until the block ends; None where nobody asked for it.

    Raises:
        ConfigError: a key is missing.
    """
    if not config.marketdata.stream:
        yield None
        return
    from marketdata.alpaca_stream import AlpacaTicks, TickSettings

    key_id, secret_key = data_keys(config)
    minutes = alpaca_bars(config, clock, calendar, time_scale)
    # A replayed day lasts seconds: pings would be its busiest traffic.
    is_replay = config.clock.kind == "replay"
    settings = TickSettings(
        url=config.marketdata.alpaca.data_stream_url,
        ping_interval_seconds=None if is_replay else 10.0,
        time_scale=time_scale,
    )
    stream = AlpacaTicks(settings, key_id=key_id, secret_key=secret_key, clock=clock)
    board = MarketBoard(minutes, clock=clock, calendar=calendar)
    symbols = map(Symbol, config.universe.symbols)
    async with contextlib.aclosing(minutes), board.listening(stream, symbols):
        yield board
