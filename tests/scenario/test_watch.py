"""One look of the watch: what it asks the broker, and what it makes of no answer."""

from decimal import Decimal
from pathlib import Path

from daemon.session.stops import Stops
from daemon.session.watch import Watch
from domain.errors import BrokerUnavailable
from tests.support.account_scene import TODAY, Watched
from tests.support.virtual_time import virtual


async def compared(directory: Path) -> Watched:
    """An account that was compared and judged before the session."""
    scene = Watched(directory)
    await scene.reconciler.run("start")
    await scene.look("100000")
    scene.broker.reads.clear()
    return scene


async def one_look(scene: Watched) -> None:
    watch = Watch(
        reconciler=scene.reconciler,
        monitor=scene.monitor,
        stops=Stops(scene.desk, scene.path, scene.limits),
        clock=scene.clock,
        every_seconds=1e6,
    )
    await watch.over(TODAY)


@virtual
async def test_one_look_reads_account_and_positions_once(tmp_path: Path) -> None:
    scene = await compared(tmp_path)

    await one_look(scene)

    assert scene.broker.reads.count("account") == 1
    assert scene.broker.reads.count("positions") == 1


@virtual
async def test_the_equity_of_the_comparison_is_judged(tmp_path: Path) -> None:
    scene = await compared(tmp_path)
    scene.broker.cash = Decimal(50_000)

    await one_look(scene)

    assert scene.latch.read().is_engaged


@virtual
async def test_equity_is_judged_also_when_the_comparison_failed(tmp_path: Path) -> None:
    scene = await compared(tmp_path)
    scene.broker.cash = Decimal(50_000)
    scene.broker.read_faults["open_orders"].append(BrokerUnavailable("maintenance"))

    await one_look(scene)

    assert scene.latch.read().is_engaged
