"""The units' exact command lines, as a service manager runs them, against a real broker server."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import World, environment, wait_for
from tests.support.running import REPOSITORY

Open = Callable[..., World]
LONGEST_STOP = 60


def command_of(unit: str, home: Path) -> list[str]:
    """Return a unit's ExecStart, with our Python and a configuration elsewhere."""
    text = (REPOSITORY / "systemd" / unit).read_text()
    found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert found is not None
    program, *arguments = shlex.split(found[1])
    assert program == "/opt/openbell/.venv/bin/openbell"
    places = {"/etc/openbell/config.toml": str(home / "config.toml")}
    return [sys.executable, "-m", "daemon", *(places.get(word, word) for word in arguments)]


@contextmanager
def started(world: World) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """Run the daemon's unit with a service manager's socket and watchdog."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(world.home / "notify"))
    manager.settimeout(90)
    environ = environment(NOTIFY_SOCKET=str(world.home / "notify"), WATCHDOG_USEC="60000000")
    with (world.home / "unit.log").open("wb") as log:
        process = subprocess.Popen(
            command_of("openbell.service", world.home), cwd=world.home, env=environ, stderr=log
        )
    try:
        yield process, manager
    finally:
        process.kill()
        process.wait(10)
        manager.close()


def hear(manager: socket.socket, wanted: str) -> None:
    while not manager.recv(4096).decode().startswith(wanted):
        pass


def test_d03_sigterm_with_an_order_in_flight_drains_within_a_minute_and_leaves_no_guess(
    open_world: Open,
) -> None:
    world = open_world(start="2022-11-14T09:22:00", speed=30)
    world.be_impatient()
    world.arm("lose_answer:order=1,mode=hang")
    with started(world) as (process, manager):
        hear(manager, "READY=1")
        wait_for("an order on its way", world.posts)

        began = time.monotonic()
        process.terminate()
        hear(manager, "STOPPING=1")
        assert process.wait(LONGEST_STOP) == 0
        assert time.monotonic() - began < LONGEST_STOP

    # Either it was answered, or it is in doubt and will be read: never sent again.
    with world.reader() as reader:
        states = {order["client_order_id"]: order["state"] for order in reader.orders()}
    assert set(states.values()) <= {"live", "filled", "unknown", "skipped", "approved", "canceled"}
    sent = [post["client_order_id"] for post in world.posts()]
    assert len(sent) == len(set(sent))


@pytest.mark.slow
def test_d09_the_kill_units_command_latches_and_cancels_what_a_dead_daemon_left(
    open_world: Open,
) -> None:
    world = open_world(start="2022-11-14T09:22:00", speed=1)
    with started(world) as (process, manager):
        hear(manager, "READY=1")
        wait_for("working orders", world.working)
        process.kill()
        process.wait(10)
    assert world.working()

    done = subprocess.run(
        command_of("openbell-kill.service", world.home),
        cwd=world.home,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert world.working() == []
    assert "the daemon failed and did not come back" in (world.state / "KILL").read_text()


def test_e13_a_log_that_nothing_takes_stops_no_trading(open_world: Open) -> None:
    world = open_world(start="2022-11-14T09:22:00", speed=60)
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            command_of("openbell.service", world.home),
            cwd=world.home,
            env=environment(),
            stderr=full,
            stdout=full,
        )
    try:
        world.wait_until_filled(4)
        world.wait_for_agreement()
        process.terminate()
        assert process.wait(LONGEST_STOP) == 0
    finally:
        process.kill()
        process.wait(10)
    assert os.path.getsize("/dev/full") == 0
