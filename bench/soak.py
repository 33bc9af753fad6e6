"""A daemon that lives on and on, in one process: does it grow, and does it miss anything?

``python -m bench.soak --sessions 30`` lives recorded sessions against the embedded broker
over sockets, with something going wrong in each: the stream drops, an answer is lost, the
broker refuses or is away, the forecast server never answers.  Nothing is restarted.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import datetime as dt
import gc
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import structlog

from bench.table import Row, render
from daemon.app import run_daemon
from daemon.config import Config, load
from daemon.embedded import running_endpoint
from domain.clock import LoopClock, sleep_until
from domain.market import Session
from marketdata.session_calendar import NyseCalendar
from transport.replay_loop import ReplayLoop

REPOSITORY = Path(__file__).parents[1]
FIRST = dt.date(2022, 11, 14)
# The embedded broker keeps the last 50,000 requests for its control page; then it is full.
WARM_UP = 12
COMMAND = "python -m bench.soak"
KIB = 1024
# One of each every session, in turn.
FAULTS = (
    ("drop_stream:event=1,seconds=30", "lose_answer:order=1"),
    ("drop_stream:event=2,seconds=90", "refuse_before_accept:order=1"),
    ("lose_event:event=1", "rate_limit:order=1,seconds=2"),
    ("garbage_frame:event=1", "html_502:method=GET,path=/v2/positions,count=2"),
    ("duplicate_event:event=1", "lose_answer:order=2,mode=504"),
    ("drop_stream:event=1,seconds=600", "refuse_before_accept:order=1,mode=hang"),
)
# Upper edges of the spans for which the loop did not look at its sockets.
EDGES = tuple(0.0001 * 1.25**step for step in range(60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The process after one night."""

    date: dt.date
    resident_kib: int
    descriptors: int
    objects: int
    tasks: int
    seconds: float


@dataclass(slots=True)
class Lag:
    """How long the loop was busy between two looks at its sockets, as counts."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))
    worst: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one span."""
        self.counts[bisect_left(EDGES, seconds)] += 1
        self.worst = max(self.worst, seconds)

    def quantile(self, share: float) -> float:
        """Return the upper edge below which that share of the spans lies."""
        wanted = share * sum(self.counts)
        for edge, seen in zip(EDGES, accumulate(self.counts), strict=False):
            if seen >= wanted:
                return edge
        return self.worst

    def over(self, seconds: float) -> int:
        """Return how many spans were longer."""
        return sum(self.counts[bisect_left(EDGES, seconds) + 1 :])


@dataclass(slots=True, kw_only=True)
class Soak:
    """What a soak found."""

    sessions: int
    samples: list[Sample]
    lag: Lag
    runs: dict[str, int]
    missed: list[str]
    faults: int
    cpu_seconds: float
    database_bytes: int

    @property
    def growth_kib(self) -> float:
        """KiB of memory that a session adds, after the first few."""
        settled = self.samples[WARM_UP:] if len(self.samples) > WARM_UP + 1 else self.samples
        if len(settled) < 2:  # noqa: PLR2004 - a slope needs two points
            return 0.0
        found = statistics.linear_regression(
            range(len(settled)), [sample.resident_kib for sample in settled]
        )
        return float(found.slope)


def soak(sessions: int, folder: Path) -> Soak:
    """Live the sessions in this process and return what was found."""
    config = _config(folder)
    lag = Lag()
    samples: list[Sample] = []
    began = time.process_time()
    with asyncio.Runner(loop_factory=lambda: _metered(lag)) as runner:
        faults = runner.run(_live(config, sessions, samples))
    runs, missed = _runs(folder / "openbell.db", sessions)
    return Soak(
        sessions=sessions,
        samples=samples,
        lag=lag,
        runs=runs,
        missed=missed,
        faults=faults,
        cpu_seconds=time.process_time() - began,
        database_bytes=(folder / "openbell.db").stat().st_size,
    )


def _config(folder: Path) -> Config:
    config = load(REPOSITORY / "config.toml", {"OPENBELL__STATE__DIRECTORY": str(folder)})
    return dataclasses.replace(config, logging=dataclasses.replace(config.logging, level="error"))


def _metered(lag: Lag) -> ReplayLoop:
    loop = ReplayLoop(speed=0)
    selector: Any = loop._selector  # type: ignore[attr-defined]
    select = selector.select
    returned = [time.perf_counter()]

    def measured(timeout: float | None = None) -> Any:
        lag.add(time.perf_counter() - returned[0])
        try:
            return select(timeout)
        finally:
            returned[0] = time.perf_counter()

    selector.select = measured
    return loop


async def _live(config: Config, sessions: int, samples: list[Sample]) -> int:
    clock = LoopClock(dt.datetime.fromisoformat(config.clock.start), asyncio.get_running_loop())
    calendar = NyseCalendar()
    last = FIRST + dt.timedelta(days=2 * sessions + 10)
    lived = list(calendar.sessions(FIRST, last))[:sessions]
    # A saboteur that fails ends the soak: a calm one would prove nothing.
    async with asyncio.TaskGroup() as group:
        beside = group.create_task(_sabotage(config, clock, lived, samples))
        await run_daemon(config, sessions=sessions)
        beside.cancel()
    return 2 * sessions


async def _sabotage(
    config: Config, clock: LoopClock, sessions: list[Session], samples: list[Sample]
) -> None:
    began = time.perf_counter()
    for number, session in enumerate(sessions):
        await sleep_until(clock, session.open - dt.timedelta(hours=1))
        await asyncio.to_thread(_arm, config, FAULTS[number % len(FAULTS)])
        # After the night; behind the last session there is none.
        await sleep_until(clock, session.close + dt.timedelta(minutes=90))
        samples.append(_sample(session.date, time.perf_counter() - began))


def _arm(config: Config, faults: tuple[str, ...]) -> None:
    port = running_endpoint(config)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_openbell/faults",
        data=json.dumps({"faults": list(faults), "clear": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30):
        pass


def _sample(date: dt.date, seconds: float) -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Sample(
        date=date,
        resident_kib=pages * os.sysconf("SC_PAGE_SIZE") // KIB,
        descriptors=len(os.listdir("/proc/self/fd")),
        objects=len(gc.get_objects()),
        tasks=len(asyncio.all_tasks()),
        seconds=seconds,
    )


def _runs(path: Path, sessions: int) -> tuple[dict[str, int], list[str]]:
    """Count the runs by outcome, and name those that were not done."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT run_id, state, reason FROM runs ORDER BY run_id").fetchall()
    counts: dict[str, int] = {}
    for _, state, _ in rows:
        counts[state] = counts.get(state, 0) + 1
    missed = [f"{run_id} {state}: {reason}" for run_id, state, reason in rows if state != "DONE"]
    if (absent := 4 * sessions + 2 * (sessions - 1) - len(rows)) > 0:
        missed.append(f"{absent} runs without a row")
    return counts, missed


def rows_of(found: Soak) -> list[Row]:
    """Return the figures as a table."""
    command = f"{COMMAND} --sessions {found.sessions}"
    first, last = found.samples[0], found.samples[-1]
    shared: dict[str, Any] = {"command": command}
    return [
        Row(name="sessions lived in one process", ours=found.sessions, unit="", **shared),
        Row(name="faults armed", ours=found.faults, unit="", **shared),
        Row(name="runs done", ours=found.runs.get("DONE", 0), unit="", **shared),
        Row(name="runs missed or failed", ours=len(found.missed), unit="", target="0", **shared),
        Row(
            name="memory after the last night, beside after the first",
            ours=last.resident_kib / KIB,
            unit="MiB",
            floor=first.resident_kib / KIB,
            floor_name="first",
            **shared,
        ),
        Row(
            name=f"memory that a session adds, from the {WARM_UP + 1}th on",
            ours=found.growth_kib,
            unit="KiB",
            target="< 512",
            **shared,
        ),
        Row(
            name="objects, last beside first",
            ours=last.objects,
            unit="",
            floor=first.objects,
            floor_name="first",
            **shared,
        ),
        Row(
            name="open file descriptors, last beside first",
            ours=last.descriptors,
            unit="",
            floor=first.descriptors,
            floor_name="first",
            target="first + 4 at most",
            **shared,
        ),
        Row(
            name="event loop away from its sockets, p99",
            ours=found.lag.quantile(0.99) * 1000,
            unit="ms",
            target="< 50",
            **shared,
        ),
        Row(
            name=f"the same, longest ({found.lag.over(0.25)} longer than 250 ms)",
            ours=found.lag.worst * 1000,
            unit="ms",
            **shared,
        ),
        Row(
            name="CPU time of a session",
            ours=found.cpu_seconds / found.sessions,
            unit="s",
            **shared,
        ),
    ]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="openbell-soak-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Live, print the table, and name what was missed; 1 when something was."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with _folder() as folder:
        found = soak(arguments.sessions, folder)
    if arguments.json:
        print(
            json.dumps({**dataclasses.asdict(found), "growth_kib": found.growth_kib}, default=str)
        )
    else:
        print(render(rows_of(found)))
        for line in found.missed:
            print(f"not done: {line}")
    return 1 if found.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
