"""What a durable intent costs, beside the disk's own append + fdatasync in the same run.

Rounds of floor and store alternate, so that a disk that is busy for a while slows both.
"""

import dataclasses
import datetime as dt
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

from bench.table import Row
from domain.clock import SystemClock
from domain.decisions import GateResult, LimitCheck
from domain.ids import ClientOrderId, Symbol
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from state.journal import Journal
from state.store import Store

ROUNDS = 7
SINGLES = 300
BATCH = 500
BATCHES_PER_ROUND = 3
LIMITS = 12
PAGE = b"x" * 4096
FLOOR = "4 KiB append + fdatasync"
COMMAND = "python -m bench intents"

REQUEST = OrderRequest(
    client_order_id=ClientOrderId("ob"),
    strategy="book",
    session_date=dt.date(2022, 12, 14),
    symbol=Symbol("AAPL"),
    side=Side.BUY,
    quantity=Decimal(120),
    order_type=OrderType.LIMIT,
    limit_price=Decimal("143.21"),
    time_in_force=TimeInForce.DAY,
    leg="entry",
    revision=0,
    decision_price=Decimal("143.10"),
    reason="combined signal BUY, strength 0.42, confidence 0.66",
)
CHECKS = tuple(
    LimitCheck(limit=f"max_limit_{number}_pct", passed=True, figure="4.2173", bound="10")
    for number in range(LIMITS)
)


def measure(parent: Path = Path()) -> list[Row]:
    """Measure in a new folder on the disk of ``parent``, and remove it."""
    with tempfile.TemporaryDirectory(prefix=".bench-intents-", dir=parent) as folder:
        floor, single, batch = samples(Path(folder))
    return [
        Row(
            name="one durable intent, p50",
            ours=statistics.median(single),
            floor=statistics.median(floor),
            floor_name=FLOOR,
            target="<= 1.5",
            unit="ms",
            command=COMMAND,
        ),
        Row(
            name="one durable intent, p99",
            ours=p99(single),
            floor=p99(floor),
            floor_name=FLOOR,
            target="<= 3",
            unit="ms",
            command=COMMAND,
        ),
        Row(
            name=f"{BATCH} intents with {LIMITS} limit checks each, in one transaction, p50",
            ours=statistics.median(batch),
            floor=statistics.median(floor),
            floor_name=FLOOR,
            target="<= 50, that is 10 ms where the floor is 0.2 ms",
            unit="ms",
            command=COMMAND,
        ),
    ]


def samples(folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Return the milliseconds of the floor, of single intents and of whole runs."""
    store = Store.open(folder / "var", clock=SystemClock())
    journal = Journal(store)
    floor: list[float] = []
    single: list[float] = []
    batch: list[float] = []
    for number in range(ROUNDS):
        floor += disk_floor(folder / "floor", SINGLES)
        plan = planned(f"s{number}", SINGLES)
        journal.record_plan(plan, "bench")
        single += [
            timed(partial(journal.mark_sending, result.request.client_order_id)) for result in plan
        ]
        batch += [
            run_of_intents(store, journal, f"b{number}-{part}") for part in range(BATCHES_PER_ROUND)
        ]
    store.close()
    return floor, single, batch


def run_of_intents(store: Store, journal: Journal, prefix: str) -> float:
    """Commit a run's intents, APPROVED and SENDING, before the first request."""
    plan = planned(prefix, BATCH)

    def commit() -> None:
        with store.transaction():
            journal.mark_sending(*journal.record_plan(plan, "bench"))

    return timed(commit)


def planned(prefix: str, count: int) -> list[GateResult]:
    """Return approved results with realistic checks."""
    return [
        GateResult(
            request=dataclasses.replace(
                REQUEST, client_order_id=ClientOrderId(f"ob-20221214-AAPL-{prefix}-{number:04d}")
            ),
            checks=CHECKS,
        )
        for number in range(count)
    ]


def disk_floor(path: Path, count: int) -> list[float]:
    """Time the disk's own append + fdatasync."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append() -> None:
        os.write(descriptor, PAGE)
        os.fdatasync(descriptor)

    try:
        return [timed(append) for _ in range(count)]
    finally:
        os.close(descriptor)


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def p99(samples: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(samples, n=100)[98]
