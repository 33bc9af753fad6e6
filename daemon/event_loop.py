"""Run a coroutine on the loop that the configuration's clock asks for."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from daemon.config import Config
from daemon.embedded import running_endpoint
from transport.replay_loop import ReplayLoop

Result = TypeVar("Result")

# Years of bars are a million objects that hold no cycle: Python's own thresholds would look
# for one in them every few milliseconds, a third of the time that a fetch takes.
_COLLECT_AFTER = (50_000, 20, 100)
# A vendor's SDK waits in a thread for what the loop fetches, and the loop looks names up in
# one, the broker's too.  asyncio has four more than cores: with a hundred symbols the SDKs
# held them all, nobody connected, and each waited for the others until its deadline.
_THREADS = 48


def run(config: Config, main: Coroutine[Any, Any, Result], *, speed: float | None = None) -> Result:
    """Run to the end; Ctrl-C cancels it and lets it close what it opened.

    Args:
        config: tells the clock.
        main: what to run.
        speed: replaces ``clock.speed`` of a replay; 1 for what a person waits for.
    """
    spare_collections()
    with asyncio.Runner(loop_factory=_factory(config, speed)) as runner:
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="openbell")
        runner.get_loop().set_default_executor(threads)
        return runner.run(main)


def spare_collections() -> None:
    """Have the garbage collector look less often; most of what we make holds no cycle."""
    gc.set_threshold(*_COLLECT_AFTER)


def _factory(config: Config, speed: float | None) -> Callable[[], asyncio.AbstractEventLoop] | None:
    # Another process answers in real time, whatever the clock of this one.
    if config.clock.kind == "system" or running_endpoint(config) is not None:
        return None
    return lambda: ReplayLoop(speed=config.clock.speed if speed is None else speed)
