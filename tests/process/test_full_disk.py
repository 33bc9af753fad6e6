"""A disk that fills under a running daemon: nothing is sent, nothing is lost, and it comes back."""

from collections.abc import Callable

from state.latch import Latch
from tests.support.processes import World
from tests.support.small_disk import SmallDisk

Open = Callable[..., World]

# Orders sent before the open fill at the open: at this pace ten seconds later.
QUEUED = {"start": "2022-11-14T09:20:30", "speed": 60}


def test_e02_fills_on_a_full_disk_halt_and_end_the_daemon_so_that_a_restart_books_them(
    open_world: Open, small_disk: SmallDisk
) -> None:
    world = open_world(**QUEUED)
    world.move_state(small_disk.path / "var")
    daemon = world.daemon()
    daemon.wait_event("orders.sent")
    posts = len(world.posts())

    small_disk.fill()

    # 75 is restarted; the start on a disk that still refuses is not, and the kill follows.
    assert daemon.wait() == 75
    assert Latch(world.state).read().reason.startswith("storage: ")
    assert daemon.log.read_text().splitlines()[-1].endswith("; trading is halted")
    assert world.daemon().wait() == 78
    small_disk.free()
    again = world.daemon()
    assert again.wait_event("daemon.started")["latch_engaged"] is True
    assert again.wait_event("reconcile.finished")["breaks"] == 0
    assert again.terminate() == 0
    assert len(world.posts()) == posts
    held = {one["symbol"]: one["qty"] for one in world.control.get("/v2/positions").json()}
    booked = world.read("positions")
    assert {one["symbol"]: one["quantity"] for one in booked} == held != {}
