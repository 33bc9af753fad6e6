"""What a host does to a process: no memory, a blocked loop, one crash after another."""

import configparser
import contextlib
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from state.latch import Latch
from tests.support.processes import REPOSITORY, World, environment, wait_for

Open = Callable[..., World]

pytestmark = pytest.mark.slow

# What blocks a loop: code of ours or of a library that never awaits.
SPINNING = """
import runpy, signal, sys, time

def spin(*_):
    until = time.monotonic() + 4
    while time.monotonic() < until:
        pass

signal.signal(signal.SIGUSR1, spin)
sys.argv = ["openbell", "run"]
runpy.run_module("daemon", run_name="__main__")
"""


class Manager:
    """Stands for systemd: hears what a service tells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wire.bind(str(path))
        self._wire.setblocking(False)

    def heard(self) -> list[str]:
        """Return what came since the last call."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self._wire.recv(4096).decode())
        return found

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_d06_a_process_that_the_kernel_kills_in_the_forecast_is_taken_up_where_it_was(
    open_world: Open,
) -> None:
    world = open_world(start="2022-11-14T08:29:30", speed=20)
    daemon = world.daemon()
    # Bars are there; what follows is the model, which needs the most memory of all.
    daemon.wait_event("bars.read")
    daemon.kill()
    with world.reader() as reader:
        assert [(run["kind"], run["state"]) for run in reader.runs()] == [("premarket", "RUNNING")]

    again = world.daemon()
    done = again.wait_event("run.finished", kind="premarket")

    assert done["state"] == "DONE"
    assert again.terminate() == 0
    with world.reader() as reader:
        assert [(run["kind"], run["state"]) for run in reader.runs()] == [("premarket", "DONE")]


def test_d07_a_blocked_loop_feeds_no_watchdog_and_the_next_process_is_well(
    open_world: Open, manager: Manager
) -> None:
    world = open_world(start="2022-11-14T09:31:00", speed=20)
    log = world.home / "spinning.log"
    with log.open("wb") as sink:
        blocked = subprocess.Popen(
            [sys.executable, "-c", SPINNING],
            cwd=world.home,
            env=environment(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="2000000"),
            stdout=sink,
            stderr=sink,
        )
    try:
        told: list[str] = []

        def is_fed() -> bool:
            told.extend(manager.heard())
            return "READY=1" in told and "WATCHDOG=1" in told

        wait_for("a service that is ready and alive", is_fed)
        blocked.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        manager.heard()
        time.sleep(3)

        assert manager.heard() == []
        wait_for("the word about it", lambda: "watchdog.stalled" in log.read_text())
        assert "the event loop is" in log.read_text()
        # Longer than WatchdogSec: this is what systemd does then.
        blocked.send_signal(signal.SIGABRT)
        assert blocked.wait(30) == -signal.SIGABRT
    finally:
        blocked.kill()
        blocked.wait()

    again = world.daemon()
    again.wait_event("account.read")
    world.wait_for_agreement()
    assert again.terminate() == 0


def test_d09_after_a_crash_loop_the_unit_that_follows_cancels_everything(
    open_world: Open,
) -> None:
    service, after = _unit("openbell.service"), _unit("openbell-kill.service")
    assert service["Unit"]["OnFailure"] == "openbell-kill.service"
    assert service["Unit"]["StartLimitIntervalSec"] == "10min"
    world = open_world(start="2022-11-14T09:20:30", speed=20)
    daemon = world.daemon()
    daemon.wait_event("orders.sent")
    daemon.kill()
    assert len(world.working()) == 4

    # Nothing but the environment is broken: an address where nobody listens.
    for _ in range(int(service["Unit"]["StartLimitBurst"]) - 1):
        crashed = world.openbell(
            "run", OPENBELL__BROKER__ALPACA__TRADING_URL="http://127.0.0.1:9", seconds=90
        )
        assert crashed.returncode == 75, crashed.stderr
    command = shlex.split(after["Service"]["ExecStart"])
    arguments = command[command.index("kill") :]
    killed = world.openbell("--json", *arguments)

    assert killed.returncode == 0, killed.stderr
    assert json.loads(killed.stdout)["verified"] is True
    assert world.working() == []
    latch = Latch(world.state).read()
    assert latch.is_engaged
    assert latch.reason == "the daemon failed and did not come back"


def _unit(name: str) -> configparser.ConfigParser:
    # A key may stand more than once in a unit; none of those read here does.
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(REPOSITORY / "systemd" / name)
    return parser
