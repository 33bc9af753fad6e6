"""``serve-models``: the model server, in the foreground."""

import asyncio
import importlib.util
import signal
import sys

from daemon.command_line import Options
from daemon.commands.model_config import config_or_defaults, store_of
from daemon.commands.output import console, print_json
from daemon.config import Config
from daemon.credentials import FORECAST_TOKEN, Credentials
from daemon.health.service import Notifier
from daemon.log_setup import configure
from domain.clock import SystemClock
from domain.errors import ConfigError
from modelserver.server import ModelServer
from modelserver.settings import CPU, ServerSettings


def serve_models(
    options: Options, *, host: str, port: int, workers: int, queue: int, device: str
) -> None:
    """Serve until SIGTERM or Ctrl-C; who is inside is answered first."""
    _check_device(device)
    config = config_or_defaults(options)
    credentials = Credentials.of(config)
    settings = ServerSettings(
        host=host,
        port=port,
        token=credentials.find(FORECAST_TOKEN) or None,
        workers=workers,
        queue_size=queue,
        device=device,
    )
    configure(
        level=config.logging.level,
        form=config.logging.format,
        clock=SystemClock(),
        secrets=credentials.known(),
    )
    asyncio.run(_serve(config, settings, options))


def _check_device(device: str) -> None:
    # torch is for a GPU only; without one it is not even looked for.
    if device == CPU:
        return
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            f"--device {device}: torch is not installed; install openbell[server], or use {CPU}"
        )
    from forecasts.training.devices import check_device

    check_device(device)


async def _serve(config: Config, settings: ServerSettings, options: Options) -> None:
    stop, notifier = asyncio.Event(), Notifier()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ModelServer(store_of(config), settings) as server:
        _announce(server, settings, options)
        notifier.send("READY=1")
        await stop.wait()
        notifier.stopping()


def _announce(server: ModelServer, settings: ServerSettings, options: Options) -> None:
    models = [
        {"name": name, "version": version, "model_hash": model.card.sha256}
        for (name, version), model in sorted(server.catalog.hosted.items())
    ]
    if options.json:
        has_token = settings.token is not None
        print_json({"url": server.url, "models": models, "needs_token": has_token})
    else:
        console().print(f"Serving {len(models)} model versions on {server.url}")
        for model in models:
            console().print(f"  {model['name']}/{model['version']}  {model['model_hash'][:12]}")
        if settings.token is None:
            console().print("No OPENBELL_FORECAST_TOKEN is set: every program here may ask.")
        console().print("Ctrl-C answers who is waiting, then stops.")
    # Who started us reads a pipe and waits for this.
    sys.stdout.flush()
