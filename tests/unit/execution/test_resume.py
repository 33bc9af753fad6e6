"""Resume: only a person who means this account, with equal books and a completed kill."""

from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import BrokerError, BrokerUnavailable, StateError
from domain.ids import Symbol
from domain.orders import OrderState
from domain.trading_state import TradingState
from execution.kill import kill
from execution.resume import books_agree, resume
from state.latch_record import KillAction, LatchState
from tests.support.order_scene import Scene, request
from tests.support.virtual_time import virtual

LAST_FOUR = "1234"


async def killed(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    await scene.reconciler.run("start")
    await kill(
        scene.broker,
        scene.latch,
        flatten=False,
        reason="test",
        clock=scene.clock,
        tell=lambda _: None,
    )
    return scene


async def try_resume(
    scene: Scene,
    *,
    confirm: str = LAST_FOUR,
    reason: str = "checked",
    sequence: int | None = None,
) -> LatchState:
    seen = scene.latch.read().sequence if sequence is None else sequence
    return await resume(
        scene.broker,
        scene.latch,
        clock=scene.clock,
        reason=reason,
        confirm=confirm,
        expected_sequence=seen,
        check=books_agree(scene.desk, scene.reconciler),
        row=scene.store.latch_row(),
    )


@virtual
async def test_resume_releases_the_latch_and_the_brokers_lock(tmp_path: Path) -> None:
    scene = await killed(tmp_path)
    assert scene.broker.is_suspended

    state = await try_resume(scene)
    scene.store.sync_latch(scene.latch)
    await scene.send(request())

    assert not state.is_engaged
    assert not scene.broker.is_suspended
    assert scene.state_of(request()) is OrderState.LIVE


@virtual
async def test_resume_works_on_an_account_without_a_lock(tmp_path: Path) -> None:
    scene = await killed(tmp_path)
    scene.broker.offers_suspend = False

    assert not (await try_resume(scene)).is_engaged


@pytest.mark.parametrize("confirm", ["", "4", "0000", "PA3TEST01234", "1235"])
@virtual
async def test_k08_resume_refuses_another_account_number(tmp_path: Path, confirm: str) -> None:
    scene = await killed(tmp_path)

    with pytest.raises(StateError, match="last four"):
        await try_resume(scene, confirm=confirm)

    assert scene.latch.read().is_engaged


@virtual
async def test_resume_refuses_without_a_reason(tmp_path: Path) -> None:
    scene = await killed(tmp_path)

    with pytest.raises(StateError, match="reason"):
        await try_resume(scene, reason="  ")


@virtual
async def test_k08_resume_loses_to_a_kill_that_came_after_the_status_was_read(
    tmp_path: Path,
) -> None:
    scene = await killed(tmp_path)
    seen = scene.latch.read().sequence
    scene.latch.engage("again", scene.clock.now())

    with pytest.raises(StateError, match="again"):
        await try_resume(scene, sequence=seen)

    assert scene.latch.read().is_engaged


@pytest.mark.parametrize("step", range(1, 12))
@virtual
async def test_k08_kill_wins_at_every_instant_of_a_resume(tmp_path: Path, step: int) -> None:
    scene = await killed(tmp_path)
    steps = [0]

    def engage(_: str) -> None:
        steps[0] += 1
        if steps[0] == step:
            scene.latch.engage("kill during resume", scene.clock.now())

    scene.broker.on_read = scene.broker.before_write = scene.broker.after_write = engage

    try:
        await try_resume(scene)
    except StateError:
        assert scene.latch.read().is_engaged
    else:
        assert steps[0] < step, "a kill that came before the end must win"


@pytest.mark.parametrize(
    ("pending", "command"),
    [
        (KillAction.CANCEL, "`openbell kill` until it"),
        (KillAction.FLATTEN, "`openbell kill --flatten`, or `openbell kill` to keep"),
    ],
)
@virtual
async def test_resume_names_the_kill_that_completes_what_is_not_completed(
    tmp_path: Path, pending: KillAction, command: str
) -> None:
    scene = await killed(tmp_path)
    scene.latch.engage("cut off", scene.clock.now(), pending=pending)

    with pytest.raises(StateError, match=f"run {command}"):
        await try_resume(scene)


@virtual
async def test_resume_refuses_while_positions_are_not_reconciled(tmp_path: Path) -> None:
    scene = await killed(tmp_path)
    scene.broker.quantities[Symbol("AAPL")] = Decimal(5)

    with pytest.raises(StateError, match="AAPL"):
        await try_resume(scene)
    assert scene.broker.is_suspended
    await scene.reconciler.adopt(Symbol("AAPL"), "mine")

    assert not (await try_resume(scene)).is_engaged


@virtual
async def test_a18_resume_refuses_upon_an_empty_list_that_the_equity_contradicts(
    tmp_path: Path,
) -> None:
    # Found by simulation seed 110066: shares had come without a word, the one list was empty,
    # and so were the books.
    scene = await killed(tmp_path)
    scene.broker.quantities[Symbol("AAPL")] = Decimal(5)
    scene.broker.read_faults["positions"].append([])

    with pytest.raises(StateError, match="equity holds shares"):
        await try_resume(scene)

    assert scene.latch.read().is_engaged


@virtual
async def test_k07_resume_after_the_latch_was_lost_releases_the_database_too(
    tmp_path: Path,
) -> None:
    # Found by simulation seed 200520: the file began anew at the number that the row had, and a
    # release that is not later than the row is none: all stayed halted until a second resume.
    scene = Scene(tmp_path)
    await scene.reconciler.run("start")
    scene.store.sync_latch(scene.latch)
    scene.latch.path.unlink()
    assert scene.store.sync_latch(scene.latch).is_engaged

    await try_resume(scene)

    assert not scene.store.sync_latch(scene.latch).is_engaged
    assert scene.desk.effective_state() is TradingState.ACTIVE


@virtual
async def test_resume_refuses_while_the_broker_cannot_be_read(tmp_path: Path) -> None:
    scene = await killed(tmp_path)
    scene.broker.read_faults["positions"].append(BrokerUnavailable("down"))

    with pytest.raises(BrokerUnavailable):
        await try_resume(scene)

    assert scene.latch.read().is_engaged


@virtual
async def test_resume_refuses_when_the_lock_reads_back_as_still_set(tmp_path: Path) -> None:
    scene = await killed(tmp_path)

    async def stubborn(*, is_suspended: bool) -> bool:
        return True

    scene.broker.set_suspended = stubborn

    with pytest.raises(BrokerError, match="still set"):
        await try_resume(scene)

    assert scene.latch.read().is_engaged


@virtual
async def test_resume_leaves_a_brokers_lock_alone_that_is_not_set(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.reconciler.run("start")
    scene.latch.engage("drawdown", scene.clock.now())
    writes: list[str] = []
    scene.broker.before_write = writes.append

    assert not (await try_resume(scene)).is_engaged
    assert writes == []
