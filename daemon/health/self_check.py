"""A look at ourselves: would a fresh start find what it needs, and is anything of ours broken?"""

import asyncio
import datetime as dt
import shutil
from collections.abc import Mapping
from pathlib import Path

from brokers.base import Broker
from daemon.telemetry.vitals import LAG_WITHIN_SECONDS, Vitals
from domain.clock import Clock
from domain.errors import BrokerError, ProviderUnavailable, StateError
from execution.desk import Desk
from state.inspection import inspect

BROKER = "broker"
_LEAST_FREE_BYTES = 200_000_000


async def look_at_ourselves(desk: Desk, vitals: Vitals) -> Mapping[str, str]:
    """Return what is wrong, by part; empty when all is well."""
    directory = desk.store.directory
    found = {
        BROKER: await _broker(desk.broker, desk.clock),
        # In a thread: the whole chain is read, and nothing of ours waits for it.
        "database": await asyncio.to_thread(_database, directory),
        "disk": _disk(directory),
        "loop": _loop(vitals.loop_lag_seconds),
    }
    return {part: problem for part, problem in found.items() if problem}


async def _broker(broker: Broker, clock: Clock) -> str:
    """Read everything that a start reads."""
    yesterday = clock.now() - dt.timedelta(days=1)
    try:
        await broker.account()
        await broker.open_orders()
        await broker.orders_since(yesterday)
        await broker.activities(yesterday)
        await broker.positions()
        await broker.clock()
    except (ProviderUnavailable, BrokerError) as exc:
        return str(exc)
    return ""


def _database(directory: Path) -> str:
    try:
        inspect(directory)
    except StateError as exc:
        return str(exc)
    return ""


def _disk(directory: Path) -> str:
    free = shutil.disk_usage(directory).free
    if free >= _LEAST_FREE_BYTES:
        return ""
    return f"only {free / 1e6:.0f} MB are free under {directory}"


def _loop(lag_seconds: float) -> str:
    return "" if lag_seconds <= LAG_WITHIN_SECONDS else f"it is {lag_seconds:.1f} s late"
