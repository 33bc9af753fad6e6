"""The daemon's life as a process: stopped, killed, frozen, doubled; and traded beside."""

import fcntl
import json
import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import World, wait_for

Open = Callable[..., World]

QUEUED = {"start": "2022-11-14T09:20:30", "speed": 20}
AT_THE_OPEN = {"start": "2022-11-14T09:25:00", "speed": 60}


def ids_of(world: World) -> set[str]:
    """Every order in the books, sent or not."""
    with world.reader() as reader:
        return {order["client_order_id"] for order in reader.orders()}


def test_d12_c10_a_second_daemon_on_the_same_state_directory_refuses_to_start(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    first = world.daemon()
    first.wait_event("daemon.started")

    second = world.openbell("run")

    assert second.returncode == 78
    assert "in use by another openbell" in second.stderr
    first.wait_event("orders.sent")
    assert first.child.poll() is None
    posts = world.posts()
    assert len({post["client_order_id"] for post in posts}) == len(posts) == 4


def test_d13_a_lock_file_left_by_a_killed_process_does_not_hinder_the_next(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    first = world.daemon()
    first.wait_event("daemon.started")
    first.kill()
    assert (world.state / "openbell.lock").exists()

    second = world.daemon()
    second.wait_event("orders.sent")

    with (world.state / "openbell.lock").open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert second.terminate() == 0


@pytest.mark.parametrize("ending", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_d03_a20_a_stop_with_a_request_in_flight_ends_well_and_the_next_start_finds_the_order(
    open_world: Open, ending: str
) -> None:
    world = open_world(**QUEUED, faults=("lose_answer:order=3,mode=hang",))
    world.be_impatient()
    daemon = world.daemon()
    wait_for("the request without an answer", lambda: len(world.posts()) >= 3)

    started = time.monotonic()
    daemon.child.send_signal(getattr(signal, ending))
    assert daemon.wait() == 0

    assert time.monotonic() - started < 60
    assert "Traceback" not in daemon.log.read_text()
    again = world.daemon()
    again.wait_event("account.read")
    wait_for("no doubt", lambda: world.doubts() == [])
    assert again.terminate() == 0
    taken = [post["client_order_id"] for post in world.posts() if post["is_taken"]]
    assert len(set(taken)) == len(taken)


def test_d04_a03_sigkill_with_a_request_in_flight_is_settled_by_reading_not_by_sending(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED, faults=("lose_answer:order=1,mode=hang",))
    world.be_impatient()
    daemon = world.daemon()
    wait_for("the request without an answer", world.posts)
    daemon.child.send_signal(signal.SIGTERM)
    daemon.kill()
    lost = world.posts()[0]["client_order_id"]

    again = world.daemon()
    again.wait_event("account.read")
    wait_for("no doubt", lambda: world.doubts() == [])

    assert [p["client_order_id"] for p in world.posts()].count(lost) == 1
    with world.reader() as reader:
        states = {order["client_order_id"]: order["state"] for order in reader.orders()}
    assert states[lost] in {"live", "filled", "partially_filled"}


def test_d11_a_plan_that_other_settings_began_is_followed_and_not_added_to(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED, faults=("lose_answer:order=1,mode=hang",))
    world.be_impatient()
    daemon = world.daemon()
    wait_for("the request without an answer", world.posts)
    daemon.kill()
    planned = ids_of(world)

    again = world.daemon(OPENBELL__RISK__MAX_ORDERS_PER_DAY="7")
    ended = again.wait_event("run.finished", kind="submit")
    wait_for("no doubt", lambda: world.doubts() == [])

    assert ended["state"] == "FAILED"
    assert "changed after this plan was begun" in ended["reason"]
    assert ids_of(world) == planned
    symbol = world.read("orders")[0]["symbol"]
    (maker,) = {order["made_by"] for order in world.read("explain", symbol)["orders"]}
    assert maker == daemon.wait_event("daemon.started")["made_by"]
    assert maker != again.wait_event("daemon.started")["made_by"]


def test_d05_c07_a_frozen_process_catches_up_with_what_filled_meanwhile(open_world: Open) -> None:
    world = open_world(**AT_THE_OPEN)
    daemon = world.daemon()
    wait_for("orders at the broker", lambda: len(world.truth()["orders"]) == 4)
    daemon.stop()
    world.wait_until_filled(4)
    time.sleep(1)
    daemon.thaw()

    world.wait_for_agreement()
    assert daemon.terminate() == 0


def test_d01_i17_sigkill_between_fills_loses_and_doubles_none(open_world: Open) -> None:
    world = open_world(**AT_THE_OPEN)
    daemon = world.daemon()
    daemon.wait_event("fill.booked")
    daemon.kill()
    world.wait_until_filled(4)

    again = world.daemon()
    again.wait_event("account.read")

    world.wait_for_agreement()
    assert again.terminate() == 0


def test_b09_c11_an_external_order_is_adopted_named_and_counted(open_world: Open) -> None:
    world = open_world(start="2022-11-14T09:31:00", speed=30)
    daemon = world.daemon()
    daemon.wait_event("run.finished", kind="submit")

    world.order_up("hand-trades", symbol="META", qty="7", side="buy", client_order_id="by-hand")

    wait_for("the external fill", lambda: world.booked("by-hand"))
    world.wait_for_agreement()
    assert daemon.terminate() == 0
    with world.reader() as reader:
        held = {row["symbol"]: row["quantity"] for row in reader.positions()}
        assert held["META"] == "7"
        told = " ".join(incident["text"] for incident in reader.incidents())
    assert "META" in told or "by-hand" in told


def test_b10_a_position_closed_by_hand_is_booked_from_the_broker(open_world: Open) -> None:
    world = open_world(start="2022-11-14T09:31:00", speed=30)
    daemon = world.daemon()
    daemon.wait_event("run.finished", kind="submit")
    quantity = wait_for("a position", lambda: world.truth()["positions"].get("NFLX"))

    world.order_up("hand-trades", symbol="NFLX", qty=quantity, side="sell")

    wait_for("a flat book", lambda: world.truth()["positions"].get("NFLX", "0") == "0")
    world.wait_for_agreement()
    assert daemon.terminate() == 0


def test_e04_a_reader_that_holds_the_database_does_not_stop_trading(open_world: Open) -> None:
    world = open_world(**AT_THE_OPEN)
    daemon = world.daemon()
    daemon.wait_event("daemon.started")
    with sqlite3.connect(f"file:{world.state}/openbell.db?mode=ro", uri=True) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        daemon.wait_event("orders.sent")
        world.wait_until_filled(4)
        world.wait_for_agreement()
    reader.close()
    assert daemon.terminate() == 0


def test_d10_without_a_free_file_descriptor_the_books_stay_whole_and_kill_works(
    open_world: Open,
) -> None:
    world = open_world(start="2022-11-14T09:31:00", speed=30)
    daemon = world.daemon()
    daemon.wait_event("run.finished", kind="submit")
    used = len(list(Path(f"/proc/{daemon.child.pid}/fd").iterdir()))
    before = resource.prlimit(daemon.child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.child.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    world.arm("drop_stream:event=1,seconds=1")
    world.order_up("hand-trades", symbol="META", qty="7", side="buy")
    daemon.wait_event("stream.lost")
    time.sleep(2)

    assert daemon.child.poll() is None
    done = world.openbell("--json", "kill")
    assert json.loads(done.stdout)["verified"] is True
    resource.prlimit(daemon.child.pid, resource.RLIMIT_NOFILE, before)
    world.wait_for_agreement()
    assert world.working() == []
    assert daemon.terminate() == 0


def test_d10_a_start_without_enough_file_descriptors_is_one_sentence_and_no_traceback(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    limited = (
        "import resource, runpy, sys\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (9, hard))\n"
        "sys.argv = ['openbell', 'run', '--once']\n"
        "runpy.run_module('daemon', run_name='__main__')\n"
    )

    done = world.python(limited)

    assert done.returncode in (1, 75, 78)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("openbell: ")
    assert world.posts() == []


def test_n13_another_account_behind_the_same_address_is_refused(open_world: Open) -> None:
    world = open_world(**QUEUED)
    daemon = world.daemon()
    daemon.wait_event("account.read")
    daemon.kill()
    with sqlite3.connect(world.state / "openbell.db") as database:
        database.execute("UPDATE writer SET account = 'PA3SOMEBODY1'")
    database.close()
    posts = len(world.posts())

    refused = world.openbell("run")

    assert refused.returncode == 78
    assert "PA3SOMEBODY1" in refused.stderr or "changed outside openbell" in refused.stderr
    assert len(world.posts()) == posts


def test_n05_refused_keys_end_78_before_any_order(open_world: Open) -> None:
    world = open_world(**QUEUED)

    refused = world.openbell("run", APCA_API_SECRET_KEY="wrong")

    assert refused.returncode == 78
    assert "Traceback" not in refused.stderr
    assert world.posts() == []


def test_the_doctor_reads_a_real_broker_beside_a_running_daemon_and_writes_nothing(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    daemon = world.daemon()
    daemon.wait_event("account.read")

    document = world.read("doctor")

    checks = {check["name"]: check for check in document["checks"]}
    assert document["ok"] is True, document
    assert "PA3EMBEDDED1" in checks["broker"]["text"]
    assert "10 sessions agree" in checks["calendar"]["text"]
    assert "chain unbroken" in checks["database"]["text"]
    assert daemon.terminate() == 0

    world.order_up("account", is_blocked=True)
    done = world.openbell("doctor")
    assert done.returncode == 1
    assert "ask the broker" in done.stdout
    assert "halts" in done.stdout
