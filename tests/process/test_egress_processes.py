"""A daemon with a planted bug, over real sockets: the count at the wire ends it."""

import datetime as dt
from collections.abc import Callable

from domain.clock import ManualClock
from state.latch import Latch
from state.latch_record import KillAction
from state.store import Store
from tests.support.processes import World

Open = Callable[..., World]

# Every look of ours at the latch is gone: in the gate, and right before the write.
DEAF = """
import runpy, sys
from domain.trading_state import TradingState
from execution.context import Standing
from execution.desk import Desk

Desk.effective_state = lambda self: TradingState.ACTIVE
made = Standing.__init__

def deaf(self, **known):
    made(self, **{**known, "is_latch_engaged": False, "trading_state": TradingState.ACTIVE})

Standing.__init__ = deaf
sys.argv = ["openbell", "run"]
runpy.run_module("daemon", run_name="__main__")
"""


def test_k15_a_daemon_that_does_not_see_the_latch_sends_nothing_and_ends(
    open_world: Open,
) -> None:
    world = open_world(start="2022-11-14T09:18:30", speed=30)
    at = dt.datetime(2022, 11, 14, 14, 18, tzinfo=dt.UTC)
    Store.open(world.state, clock=ManualClock(at)).close()
    Latch(world.state).engage("drill", at)

    broken = world.python(DEAF)

    assert broken.returncode == 1, broken.stderr
    assert "egress.broken" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert world.posts() == []
    latch = Latch(world.state).read()
    assert latch.is_engaged
    assert latch.pending is KillAction.CANCEL
    with world.reader() as reader:
        told = [row for row in reader.incidents() if row["kind"] == "egress.broken"]
    assert len(told) == 1
    assert "/v2/orders while the kill latch is engaged" in told[0]["text"]

    again = world.daemon()
    assert again.wait_event("daemon.started")["latch_engaged"] is True
    again.wait_event("account.read")
    assert again.terminate() == 0
    # The next start did what the broken one could not: it completed the kill.
    assert Latch(world.state).read().pending is None
    assert world.posts() == []
