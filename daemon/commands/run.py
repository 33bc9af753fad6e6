"""``openbell run``: the daemon in the foreground."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from daemon import event_loop
from daemon.app import run_daemon
from daemon.cli import Options
from daemon.config import load
from domain.errors import OpenbellError, first_cause


def run(options: Options, *, sessions: int | None, is_waiting: bool) -> None:
    """Live until stopped, or for a number of sessions."""
    config = load(options.config)
    event_loop.run(
        config, _until_stopped(run_daemon(config, sessions=sessions, is_waiting=is_waiting))
    )


async def _until_stopped(daemon: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(daemon)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return
    except BaseExceptionGroup as group:
        cause = first_cause(group)
        if isinstance(cause, OpenbellError):
            raise cause from group
        raise
