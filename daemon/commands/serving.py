"""``paper-server``: the embedded broker alone, for other programs on this machine."""

import asyncio
import signal
import sys

from brokers.paper_server import PaperServer
from daemon import event_loop
from daemon.command_line import Options
from daemon.commands.output import console, print_json
from daemon.config import Config, load
from daemon.connection import start_clock
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, Credentials
from daemon.embedded import embedded_broker, published
from domain.clock import Clock
from domain.errors import ConfigError
from marketdata.session_calendar import NyseCalendar


def paper_server(options: Options, *, port: int) -> None:
    """Serve until Ctrl-C; recorded time runs at ``clock.speed``, at least in real time."""
    config = load(options.config)
    if config.broker.kind != "embedded":
        raise ConfigError('broker.kind: the paper server needs "embedded"')
    # Stepping time would rush through the recording while nobody asks anything.
    event_loop.run(config, _serve(config, options, port), speed=max(1.0, config.clock.speed))


async def _serve(config: Config, options: Options, port: int) -> None:
    credentials = Credentials.of(config)
    clock: Clock = start_clock(config)
    server = embedded_broker(
        config, clock=clock, calendar=NyseCalendar(), credentials=credentials, port=port
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        _announce(server, options, credentials)
        with published(config, server):
            await stopped.wait()


def _announce(server: PaperServer, options: Options, credentials: Credentials) -> None:
    keys = {name: credentials.require(name).reveal() for name in (BROKER_KEY_ID, BROKER_SECRET_KEY)}
    document = {
        "trading_url": server.base_url,
        "trade_stream_url": server.stream_url,
        "data_url": server.data_url,
        "data_stream_url": server.data_stream_url,
        "time": server.venue.now().isoformat(),
        # They open the simulation on this machine and nothing else.
        **keys,
    }
    if options.json:
        print_json(document)
        # Who started us reads a pipe and waits for this.
        sys.stdout.flush()
        return
    for name, value in document.items():
        console().print(f"{name:20} {value}")
    console().print("Ctrl-C stops it; the account stays in the state directory.")
