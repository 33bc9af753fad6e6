"""A daemon that fails too often looks at itself and begins anew, as a service would."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import World, wait_for

Open = Callable[..., World]

IN_SESSION = {"start": "2022-11-14T09:31:00", "speed": 60}
# Five looks fail, each after three tries.
SOME_READS_FAIL = "refuse_before_accept:method=GET,path=/v2/positions,count=15,mode=503"


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        yield path
        with contextlib.suppress(BlockingIOError):
            manager.recv(4096)


def test_too_many_failed_operations_end_the_process_cleanly_and_the_next_one_is_well(
    open_world: Open, notify_socket: Path
) -> None:
    world = open_world(**IN_SESSION)
    daemon = world.daemon(NOTIFY_SOCKET=str(notify_socket))
    daemon.wait_event("run.finished", kind="submit")
    world.wait_for_agreement()

    world.arm(SOME_READS_FAIL)

    # The status that a service manager restarts after.
    assert daemon.wait() == 75
    assert "Traceback" not in daemon.log.read_text()
    told = daemon.wait_event("daemon.restarting")
    assert "operations failed within 600 s" in told["text"]
    assert "looking at ourselves found nothing else" in told["text"]

    again = world.daemon(NOTIFY_SOCKET=str(notify_socket))
    again.wait_event("account.read")
    world.wait_for_agreement()
    assert again.terminate() == 0
    with world.reader() as reader:
        kinds = [row["kind"] for row in reader.incidents()]
    assert kinds.count("daemon.restarting") == 1
    posts = world.posts()
    assert len({post["client_order_id"] for post in posts}) == len(posts)


@pytest.mark.slow
def test_without_a_service_manager_it_begins_anew_in_its_own_process_and_only_so_often(
    open_world: Open,
) -> None:
    world = open_world(**IN_SESSION, config="[health]\nrestarts_per_day = 1\n")
    daemon = world.daemon()
    daemon.wait_event("run.finished", kind="submit")

    world.arm(SOME_READS_FAIL)
    daemon.wait_event("daemon.restarted")
    daemon.wait_event("account.read", count=2)
    world.order_up("faults", clear=True, faults=[SOME_READS_FAIL])

    assert "not restarted again within a day" in daemon.wait_event("health.checked")["text"]
    assert daemon.child.poll() is None
    world.wait_for_agreement()
    assert daemon.terminate() == 0


@pytest.mark.slow
def test_a31_a_broker_that_is_away_is_waited_for_and_not_restarted_after(open_world: Open) -> None:
    world = open_world(**IN_SESSION)
    daemon = world.daemon()
    daemon.wait_event("run.finished", kind="submit")

    world.arm("refuse_before_accept:method=GET,path=/v2/positions,count=0,mode=503")
    told = daemon.wait_event("health.checked")["text"]

    assert "a restart brings no broker back" in told
    assert daemon.child.poll() is None
    world.order_up("faults", clear=True)
    wait_for("the next look", lambda: daemon.child.poll() is None)
    world.wait_for_agreement()
    assert daemon.terminate() == 0


@pytest.mark.slow
def test_orders_that_nobody_answers_engage_the_latch_and_end_canceled(open_world: Open) -> None:
    world = open_world(
        start="2022-11-14T09:18:30",
        speed=20,
        faults=("lose_answer:count=4,mode=503",),
        config="[risk]\nmin_order_errors = 3\n",
    )
    daemon = world.daemon()

    told = daemon.wait_event("kill.engaged")["text"]

    assert told.startswith("error rate: 3 of 3 operations failed within 600 s")
    # Each was taken all the same: found by its id, and canceled on sight.
    wait_for("no doubt", lambda: world.doubts() == [])
    wait_for("nothing working", lambda: world.working() == [])
    assert daemon.terminate() == 0
    assert world.read("status")["kill"]["engaged"] is True
