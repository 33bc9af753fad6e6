"""The kill switch against real processes: whatever else is dead, hung, locked, full or broken."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from state.latch import Latch
from state.latch_record import KillAction
from tests.support.processes import Process, World, environment, wait_for
from tests.support.small_disk import SmallDisk

Open = Callable[..., World]

# Orders sent before the open wait there, working: at this pace for half a minute.
QUEUED = {"start": "2022-11-14T09:20:30", "speed": 20}


def with_working_orders(world: World) -> Process:
    """Run the daemon until its orders are at the broker."""
    daemon = world.daemon()
    daemon.wait_event("orders.sent")
    assert len(world.working()) == 4
    return daemon


def killed(world: World, *arguments: str) -> dict[str, Any]:
    """Kill, verified."""
    done = world.openbell("--json", "kill", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["latched"] is True
    assert report["verified"] is True
    assert report["open_orders"] == 0
    assert world.working() == []
    return report


def assert_nothing_more_is_sent(world: World, posts: int) -> None:
    """Start the daemon again: it stays halted."""
    daemon = world.daemon()
    assert daemon.wait_event("daemon.started")["latch_engaged"] is True
    daemon.wait_event("account.read")
    time.sleep(1)
    daemon.terminate()
    assert len(world.posts()) == posts
    assert world.working() == []
    assert world.read("status")["kill"]["engaged"] is True


def test_k01_k05_kill_with_the_daemon_dead_cancels_queued_orders_and_the_next_start_is_halted(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    posts = len(world.posts())

    report = killed(world)

    assert report["elapsed_seconds"] < 20
    assert_nothing_more_is_sent(world, posts)


def test_k01_kill_with_the_daemon_hung_and_the_thawed_daemon_sends_nothing(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    daemon = with_working_orders(world)
    posts = len(world.posts())
    daemon.stop()

    killed(world)
    daemon.thaw()
    time.sleep(2)

    assert daemon.child.poll() is None
    assert daemon.terminate() == 0
    assert len(world.posts()) == posts
    assert world.working() == []


def test_k01_e04_kill_with_the_database_locked_by_another_process(open_world: Open) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    program = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA locking_mode = EXCLUSIVE')\n"
        "db.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(world.state / "openbell.db")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        killed(world)
    finally:
        holder.kill()
        holder.communicate()


def test_k01_e06_kill_with_the_database_corrupt_and_the_daemon_refuses_to_start(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    # Both: what a killed process leaves in the log of SQLite would repair the file.
    for path in world.state.glob("openbell.db*"):
        path.write_bytes(os.urandom(path.stat().st_size))

    killed(world)

    refused = world.openbell("run")
    assert refused.returncode == 78
    assert "backup" in refused.stderr


def test_k16_the_latch_holds_when_a_person_clears_the_brokers_lock(open_world: Open) -> None:
    world = open_world(**QUEUED)
    killed(world)

    world.order_up("account", is_suspended=False)

    assert_nothing_more_is_sent(world, posts=0)
    assert "was cleared while our kill latch is engaged" in world.read("status")["broker_lock"]
    with world.reader() as reader:
        assert [row["kind"] for row in reader.incidents()].count("account.mismatch") == 1


def test_k07_kill_with_the_latch_file_deleted_leaves_it_engaged(open_world: Open) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    posts = len(world.posts())
    (world.state / "KILL").unlink()

    assert_nothing_more_is_sent_but_the_orders_stay(world, posts)
    killed(world)


def assert_nothing_more_is_sent_but_the_orders_stay(world: World, posts: int) -> None:
    daemon = world.daemon()
    assert daemon.wait_event("daemon.started")["latch_engaged"] is True
    daemon.wait_event("account.read")
    daemon.kill()
    assert len(world.posts()) == posts


def test_k07_e01_kill_where_no_byte_can_be_written(open_world: Open) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    assert Latch(world.state).read().is_engaged is False
    limited = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "sys.argv = ['openbell', '--json', 'kill']\n"
        "runpy.run_module('daemon', run_name='__main__')\n"
    )

    done = world.python(limited)

    assert done.returncode in (0, 2), done.stderr
    report = json.loads(done.stdout)
    assert report["latched"] is True
    assert report["open_orders"] == 0
    assert world.working() == []
    # The armed file is gone, and missing means engaged.
    assert Latch(world.state).read().is_engaged is True


def test_e01_k07_kill_on_a_full_disk_and_the_running_daemon_sends_nothing(
    open_world: Open, small_disk: SmallDisk
) -> None:
    world = open_world(**QUEUED)
    world.move_state(small_disk.path / "var")
    daemon = with_working_orders(world)
    posts = len(world.posts())
    small_disk.fill()

    killed(world)

    daemon.kill()
    assert len(world.posts()) == posts
    small_disk.free()
    assert_nothing_more_is_sent(world, posts)


def test_k03_kill_during_an_in_flight_order_leaves_nothing_working(open_world: Open) -> None:
    world = open_world(**QUEUED, faults=("lose_answer:order=2,mode=hang",))
    daemon = world.daemon()
    wait_for("the order whose answer never comes", lambda: len(world.posts()) >= 2)

    killed(world)

    time.sleep(1)
    assert daemon.terminate() == 0
    assert world.working() == []
    posts = world.posts()
    assert len({post["client_order_id"] for post in posts}) == len(posts)


def test_k03_a05_an_order_delivered_after_the_kill_is_refused_or_canceled(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED, faults=("deliver_late:order=2,seconds=60",))
    daemon = world.daemon()
    wait_for("the order that comes late", lambda: len(world.posts()) >= 2)

    killed(world)

    late = [post for post in world.posts() if post["fault"] == "deliver_late"]
    wait_for(
        "its delivery",
        lambda: [p for p in world.posts() if p["fault"] == "deliver_late" and p["handled"]],
    )
    assert len(late) == 1
    time.sleep(1)
    assert daemon.terminate() == 0
    wait_for("an empty book", lambda: world.working() == [])


def test_k02_kill_while_the_broker_is_away_latches_at_once_and_ends_2_then_completes(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    # Stopped, not gone: connections open and nothing ever answers.
    world.server.stop()
    kill = world.spawn("--json", "kill")
    wait_for("the latch", lambda: Latch(world.state).read().is_engaged, seconds=10)
    kill.child.send_signal(signal.SIGINT)
    kill.wait()
    assert Latch(world.state).read().pending is not None
    world.server.thaw()

    killed(world)

    assert Latch(world.state).read().pending is None


@pytest.mark.slow
def test_k02_kill_with_nobody_listening_ends_2_and_says_so(open_world: Open) -> None:
    world = open_world(**QUEUED)
    world.server.kill()

    started = time.monotonic()
    done = world.openbell("--json", "kill", seconds=120)

    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert (report["latched"], report["verified"], report["open_orders"]) == (True, False, None)
    assert report["problems"]
    assert time.monotonic() - started < 90
    assert "Traceback" not in done.stderr


_NO_LIST = "refuse_before_accept:method=GET,path=/v2/orders,mode=500,count=0"


def test_kill_without_a_list_of_orders_cancels_them_and_waits_for_a_list_to_prove_it(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    world.arm(_NO_LIST)

    kill = world.spawn("kill")
    wait_for("an empty book", lambda: world.working() == [])
    assert kill.child.poll() is None
    world.order_up("faults", faults=[], clear=True)

    assert kill.wait() == 0
    said = kill.log.read_text()
    assert said.count("cannot be read: asked the broker to cancel everything") == 1
    assert "verified: yes" in said


@pytest.mark.slow
def test_kill_whose_list_of_orders_stays_away_ends_2_with_everything_canceled(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    world.arm(_NO_LIST)

    done = world.openbell("kill", seconds=120)

    assert world.working() == []
    assert done.returncode == 2
    assert "the broker was asked to cancel everything, and nothing shows yet" in done.stderr
    assert "NOT CANCELED" in done.stdout
    assert "open orders: unknown" in done.stdout
    assert "Not verified: run `openbell kill` again" in done.stdout
    assert Latch(world.state).read().pending is KillAction.CANCEL


@pytest.mark.parametrize(
    "fault",
    [
        "rate_limit:method=DELETE,count=200,seconds=3",
        pytest.param(
            "refuse_before_accept:method=DELETE,count=200,mode=503", marks=pytest.mark.slow
        ),
    ],
)
def test_k06_a07_a_kill_that_dies_in_the_middle_is_completed_by_the_next_start(
    open_world: Open, fault: str
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    posts = len(world.posts())
    world.arm(fault)
    kill = world.spawn("--json", "kill")
    wait_for("the latch", lambda: Latch(world.state).read().is_engaged)
    wait_for("the first cancel", lambda: world.requests("DELETE"))
    kill.kill()
    assert Latch(world.state).read().pending is not None
    world.order_up("faults", clear=True)

    daemon = world.daemon()
    daemon.wait_event("account.read")

    assert Latch(world.state).read().pending is None
    assert world.working() == []
    assert daemon.terminate() == 0
    assert len(world.posts()) == posts


def test_k08_a18_resume_refuses_the_wrong_account_and_while_anything_is_unreconciled(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).terminate()
    killed(world)

    wrong = world.openbell("resume", "--reason", "drill", "--confirm", "0000")
    assert wrong.returncode == 78
    assert "last four characters" in wrong.stderr
    for order_id in list(world.truth()["orders"])[:2]:
        world.order_up("hand-fills", client_order_id=order_id, qty="1", price="100")
    assert world.openbell("reconcile").returncode == 0
    resume = ("--json", "resume", "--reason", "drill", "--confirm", "DED1")

    # No holdings at all are not believed; one of two is a break.
    world.arm("empty_positions_once:count=0")
    unread = world.openbell(*resume)
    assert unread.returncode == 75
    world.order_up("faults", clear=True, faults=["short_page:path=/v2/positions,count=0"])
    dirty = world.openbell(*resume)
    assert dirty.returncode == 78
    assert "do not agree with the broker" in dirty.stderr
    assert Latch(world.state).read().is_engaged

    world.order_up("faults", clear=True)
    clean = world.openbell(*resume)
    assert clean.returncode == 0, clean.stderr
    assert Latch(world.state).read().is_engaged is False


def test_k09_kill_with_flatten_in_session_ends_flat(open_world: Open) -> None:
    world = open_world(start="2022-11-14T09:33:00", speed=20)
    daemon = world.daemon()
    daemon.wait_event("run.finished", kind="submit")
    wait_for("positions", lambda: len(world.truth()["positions"]) >= 3)
    daemon.kill()

    report = killed(world, "--flatten")

    assert report["proof"] == "FLAT"
    assert report["positions"] == 0
    assert all(float(text) == 0 for text in world.truth()["positions"].values())
    assert json.loads(world.requests("PATCH")[0]["body"]) == {"no_shorting": True}
    assert world.read("status")["is_shorting_forbidden_by_kill"] is True

    assert world.openbell("reconcile").returncode == 0
    resumed = world.openbell("resume", "--reason", "drill", "--confirm", "DED1")

    assert resumed.returncode == 0, resumed.stderr
    assert {"no_shorting": False} in [json.loads(one["body"]) for one in world.requests("PATCH")]
    assert world.read("status")["is_shorting_forbidden_by_kill"] is False


def test_k01_kill_with_many_working_orders_leaves_none(open_world: Open) -> None:
    world = open_world(**QUEUED)
    for number in range(50):
        world.order_up(
            "hand-trades",
            symbol="AAPL",
            qty="1",
            side="buy",
            type="limit",
            limit_price=str(100 + number),
        )
    assert len(world.working()) == 50

    report = killed(world)

    assert report["elapsed_seconds"] < 20


@pytest.mark.parametrize("lost", ["the reader of a pipe", "the room on the disk", "both"])
def test_k01_a_kill_that_nobody_hears_cancels_and_proves_it_all_the_same(
    open_world: Open, lost: str
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()

    status = kill_unheard(world, lost)

    assert status == 0
    assert world.working() == []
    latch = Latch(world.state).read()
    assert (latch.is_engaged, latch.pending) == (True, None)


def kill_unheard(world: World, lost: str) -> int:
    """Kill where nothing that is said arrives; return the exit status."""
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    told = writer if lost == "the reader of a pipe" else full
    try:
        return subprocess.run(
            [sys.executable, "-m", "daemon", "kill"],
            cwd=world.home,
            env=environment(),
            stdout=writer if lost == "both" else told,
            stderr=told,
            timeout=60,
            check=False,
        ).returncode
    finally:
        os.close(writer)
        os.close(full)


def test_k01_a_kill_goes_on_when_its_terminal_hangs_up(open_world: Open) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world).kill()
    world.arm("refuse_before_accept:method=GET,path=/v2/orders,count=2")

    killing = world.spawn("kill")
    wait_for("the latch", lambda: Latch(world.state).read().pending is not None)
    os.kill(killing.child.pid, signal.SIGHUP)

    assert killing.wait() == 0
    assert world.working() == []
