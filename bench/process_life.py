"""Kill and recovery, as processes: from the command's start to the proof.

A real paper server holds the orders.  The floor is a bare program that does the same
requests: for the kill, cancel everything and look until nothing is open; for the start,
read account, orders, positions and activities once.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import Row
from tests.support.processes import World, environment, world

WORKING = 50
TURNS = 3
COMMAND = "python -m bench process_life"
# Long before the open, so that whatever is sent keeps working.
EARLY: dict[str, Any] = {"start": "2022-11-14T06:00:00", "speed": 1}

BARE = r"""
import json, os, sys, urllib.request

URL, JOB = sys.argv[1:3]
KEYS = {"APCA-API-KEY-ID": os.environ["APCA_API_KEY_ID"],
        "APCA-API-SECRET-KEY": os.environ["APCA_API_SECRET_KEY"]}

def ask(method, path):
    request = urllib.request.Request(URL + path, method=method, headers=KEYS)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as reply:
        return json.loads(reply.read() or b"null")

if JOB == "kill":
    ask("DELETE", "/v2/orders")
    while ask("GET", "/v2/orders?status=open&limit=500"):
        pass
else:
    for path in ("account", "orders?status=open&limit=500", "positions", "account/activities"):
        ask("GET", "/v2/" + path)
"""


def measure() -> list[Row]:
    """Measure in worlds of their own."""
    return [_kill_row(), _start_row()]


def _kill_row() -> Row:
    ours: list[float] = []
    floor: list[float] = []
    told: list[float] = []
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), **EARLY) as place:
        for _ in range(TURNS):
            _fill_book(place)
            floor.append(_timed(lambda: _bare(place, "kill")))
            _fill_book(place)
            ours.append(_timed(lambda: told.append(_killed(place))))
            place.order_up("account", is_suspended=False)
    inside = statistics.median(told)
    return Row(
        name=f"kill with {WORKING} working orders, command to verified ({inside:.2f} s inside)",
        ours=statistics.median(ours),
        unit="s",
        floor=statistics.median(floor),
        floor_name="bare program: cancel all, look once",
        target="<= 5 s",
        command=COMMAND,
    )


def _start_row() -> Row:
    ours: list[float] = []
    floor: list[float] = []
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), **EARLY) as place:
        _fill_book(place)
        for _ in range(TURNS + 1):
            began = time.perf_counter()
            daemon = place.daemon()
            daemon.wait_event("reconcile.finished", why="start")
            ours.append(time.perf_counter() - began)
            daemon.kill()
            floor.append(_timed(lambda: _bare(place, "start")))
    # The first start makes the database; the others follow a SIGKILL.
    return Row(
        name=f"start-up to reconciled after SIGKILL, {WORKING} orders working",
        ours=statistics.median(ours[1:]),
        unit="s",
        floor=statistics.median(floor[1:]),
        floor_name="bare program: read the account once",
        target="-",
        command=COMMAND,
    )


def _fill_book(place: World) -> None:
    for number in range(WORKING):
        place.order_up(
            "hand-trades",
            symbol="AAPL",
            qty="1",
            side="buy",
            type="limit",
            limit_price=str(100 + number / 100),
        )


def _killed(place: World) -> float:
    done = place.openbell("--json", "kill")
    report = json.loads(done.stdout)
    if not report["verified"] or place.working():
        raise RuntimeError(f"the kill was not verified: {report}")
    return float(report["elapsed_seconds"])


def _bare(place: World, job: str) -> None:
    subprocess.run(
        [sys.executable, "-c", BARE, place.urls["trading_url"], job],
        env=environment(),
        check=True,
        timeout=60,
    )


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
