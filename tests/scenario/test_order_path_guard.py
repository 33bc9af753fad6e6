"""The last look before the wire: kills, states and locks stop what is not written yet."""

import asyncio
from pathlib import Path

import pytest

from domain.errors import RateLimited
from domain.orders import OrderState, Side
from domain.trading_state import TradingState
from execution.desk import OrderSettings
from state.pause import Pause
from tests.support.fake_broker import lost_after, refused
from tests.support.order_scene import Scene, hold, request
from tests.support.virtual_time import virtual


@pytest.mark.parametrize(
    ("state", "side", "expected"),
    [
        (TradingState.HALTED, Side.SELL, OrderState.SKIPPED),
        (TradingState.REDUCING, Side.BUY, OrderState.SKIPPED),
        (TradingState.REDUCING, Side.SELL, OrderState.LIVE),
        (TradingState.ACTIVE, Side.BUY, OrderState.LIVE),
    ],
)
@virtual
async def test_guard_reads_the_trading_state_at_the_write(
    tmp_path: Path, state: TradingState, side: Side, expected: OrderState
) -> None:
    scene = Scene(tmp_path)
    await hold(scene, "AAPL", 10)
    scene.state = state
    wanted = request("AAPL", side, 10, leg="exit" if side is Side.SELL else "entry")

    await scene.send(wanted)

    assert scene.state_of(wanted) is expected


@virtual
async def test_an_exit_that_waited_leaves_only_while_it_still_closes_what_is_held(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await hold(scene, "AAPL", 10)
    wanted = request("AAPL", Side.SELL, 10, leg="exit")
    scene.broker.submit_faults.append(refused(RateLimited("wait", retry_after_seconds=5)))
    sending = asyncio.create_task(scene.send(wanted))
    await scene.clock.sleep(1)
    by_hand = scene.broker.place_by_hand("AAPL", Side.SELL, 4, coid="by-hand")
    scene.broker.fill(by_hand, 4)
    scene.merge_stream()
    await sending

    assert scene.state_of(wanted) is OrderState.SKIPPED
    assert scene.broker.quantities[wanted.symbol] == 6


@virtual
async def test_guard_lets_a_locked_symbol_only_be_exited_and_never_through_zero(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    await hold(scene, "AAPL", 10)
    scene.ledger.lock(request().symbol, "test")
    entry, too_much = request(), request("AAPL", Side.SELL, 11, leg="exit")
    half, rest = (request("AAPL", Side.SELL, n, leg="exit", revision=n) for n in (6, 5))

    await scene.send(entry)
    await scene.send(too_much)
    await scene.send(half)
    await scene.send(rest)

    assert scene.state_of(entry) is OrderState.SKIPPED
    assert scene.state_of(too_much) is OrderState.SKIPPED
    assert scene.state_of(half) is OrderState.LIVE
    assert scene.state_of(rest) is OrderState.SKIPPED, "with the first it would pass zero"


@virtual
async def test_k04_kill_between_the_plan_and_the_write_stops_every_unsent_order(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, settings=_one_at_a_time())
    wanted = [request(f"S{chr(65 + n)}") for n in range(4)]

    def kill_after_two(_: str) -> None:
        if len(scene.broker.posts) == 1:
            scene.latch.engage("kill", scene.clock.now())

    scene.broker.before_write = kill_after_two

    await scene.send(*wanted)

    assert [scene.state_of(r) for r in wanted[2:]] == [OrderState.SKIPPED] * 2
    assert len(scene.broker.posts) == 2


@virtual
async def test_k03_order_in_flight_during_the_kill_is_canceled_once_seen(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.after_write = lambda name: (
        scene.latch.engage("kill", scene.clock.now()) if name == "submit" else None
    )

    await scene.send(wanted)

    assert len(scene.broker.orders) == 1
    assert scene.state_of(wanted) is OrderState.CANCELED


@virtual
async def test_k03_lost_reply_during_the_kill_is_read_up_and_canceled(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(lost_after())
    scene.broker.after_write = lambda name: (
        scene.latch.engage("kill", scene.clock.now()) if name == "submit" else None
    )

    await scene.send(wanted)

    assert scene.state_of(wanted) is OrderState.CANCELED
    assert len(scene.broker.posts) == 1


@virtual
async def test_k07_missing_latch_file_stops_every_write(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.latch.path.unlink()
    wanted = request()

    await scene.send(wanted)

    assert scene.broker.posts == []
    assert scene.state_of(wanted) is OrderState.SKIPPED


def _one_at_a_time() -> OrderSettings:
    return OrderSettings(sends_at_once=1)


@virtual
async def test_a_pause_holds_for_the_next_write_and_not_from_the_next_look_on(
    tmp_path: Path,
) -> None:
    # Found by simulation seed 110080: an entry that was lost on the wire went out again, six
    # minutes after a person had paused entries and before the watch looked for the first time.
    scene = Scene(tmp_path)
    wanted = request("AAPL")
    scene.broker.submit_faults.append(refused(RateLimited("wait", retry_after_seconds=5)))
    sending = asyncio.create_task(scene.send(wanted))
    await scene.clock.sleep(1)
    Pause(scene.directory).set("looking at something")
    await sending

    assert scene.state_of(wanted) is OrderState.SKIPPED
    assert scene.broker.orders == {}
