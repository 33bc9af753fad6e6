"""The demo: wall time, peak memory, where the time goes, and what an idle daemon weighs.

The phases are told apart by the daemon's own log lines, stamped as they arrive.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from bench.table import Row

COMMAND = "python -m bench demo"
KIBI = 1024
# The event that ends each phase.
PHASES = (
    ("start-up to the first reading of the account", "account.read", ""),
    ("pre-market: bars, forecasts, decision", "run.finished", "premarket"),
    ("submit: gate, journal, orders", "run.finished", "submit"),
    ("the session: 780 comparisons with the broker", "session.closed", ""),
    ("end of day: report in four formats", "run.finished", "eod"),
)


def measure() -> list[Row]:
    """Live one day as the demo does, without its screen."""
    with tempfile.TemporaryDirectory() as folder:
        marks, peak_kib, idle_kib = asyncio.run(_live(Path(folder)))
    total = marks[-1][1]
    rows = [Row(name="demo day, wall time", ours=total, unit="s", command=COMMAND)]
    before = 0.0
    for name, at in marks:
        share = 100 * (at - before) / total
        rows.append(Row(name=f"  share: {name}", ours=share, unit="%", command=COMMAND))
        before = at
    rows.append(Row(name="demo day, peak memory", ours=peak_kib / KIBI, unit="MB", command=COMMAND))
    rows.append(Row(name="idle daemon, memory", ours=idle_kib / KIBI, unit="MB", command=COMMAND))
    return rows


async def _live(folder: Path) -> tuple[list[tuple[str, float]], int, int]:
    environment = {
        **os.environ,
        "OPENBELL__STATE__DIRECTORY": str(folder / "var"),
        "OPENBELL__LOGGING__FORMAT": "json",
    }
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daemon",
        "run",
        "--once",
        "--then-wait",
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    marks: list[tuple[str, float]] = []
    try:
        async for event in _events(process):
            if len(marks) < len(PHASES) and _ends(PHASES[len(marks)], event):
                elapsed = time.perf_counter() - began
                marks.append((PHASES[len(marks)][0], elapsed))
            if event.get("event") == "daemon.waiting":
                break
        return marks, _kib(process.pid, "VmHWM"), _kib(process.pid, "VmRSS")
    finally:
        process.kill()
        await process.wait()


async def _events(process: asyncio.subprocess.Process) -> AsyncIterator[Mapping[str, object]]:
    if process.stderr is None:
        return
    async for line in process.stderr:
        yield json.loads(line)


def _ends(phase: tuple[str, str, str], event: Mapping[str, object]) -> bool:
    _, name, kind = phase
    return event.get("event") == name and (not kind or event.get("kind") == kind)


def _kib(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1])
