"""The broker's lock and our latch disagree because of a person: both ways are told and shown."""

from pathlib import Path

import pytest

from daemon.telemetry.hub import URGENT
from domain.trading_state import TradingState
from execution.broker_lock import CLEARED, SET
from execution.kill import kill
from state.reader import Reader
from tests.support.account_scene import Watched
from tests.support.virtual_time import virtual


async def killed(scene: Watched) -> None:
    report = await kill(
        scene.broker,
        scene.latch,
        flatten=False,
        reason="drill",
        clock=scene.clock,
        tell=lambda _line: None,
    )
    assert report.verified


def shown(directory: Path) -> str | None:
    with Reader(directory) as reader:
        words: str | None = reader.status()["broker_lock"]
    return words


@virtual
async def test_k16_a_lock_that_a_person_cleared_is_told_once_and_the_latch_holds(
    tmp_path: Path,
) -> None:
    scene = Watched(tmp_path)
    await killed(scene)
    await scene.look()
    assert shown(tmp_path) == "set"

    scene.broker.is_suspended = False
    for _ in range(3):
        await scene.look()

    assert scene.alerts.count(("account.mismatch", CLEARED)) == 1
    assert "account.mismatch" in URGENT
    assert scene.standing is TradingState.HALTED
    assert shown(tmp_path) == CLEARED
    # Told, not repaired behind a person's back.
    assert scene.broker.is_suspended is False


@virtual
async def test_what_a_kill_or_a_resume_did_to_it_is_shown_before_a_daemon_has_looked(
    tmp_path: Path,
) -> None:
    scene = Watched(tmp_path)
    await scene.look()
    assert shown(tmp_path) == "clear"

    await killed(scene)
    assert shown(tmp_path) == "set"

    await scene.look()
    scene.broker.is_suspended = False
    scene.latch.release("checked", scene.clock.now())
    assert shown(tmp_path) == "clear"


@virtual
async def test_k16_it_is_found_by_the_next_process_too(tmp_path: Path) -> None:
    scene = Watched(tmp_path)
    await killed(scene)
    scene.broker.is_suspended = False
    scene.restart()

    await scene.look()

    assert scene.alert_kinds()["account.mismatch"] == 1


@virtual
async def test_k16_set_again_by_a_kill_it_agrees_again(tmp_path: Path) -> None:
    scene = Watched(tmp_path)
    await killed(scene)
    scene.broker.is_suspended = False
    await scene.look()

    await killed(scene)
    await scene.look()

    assert shown(tmp_path) == "set"


@virtual
async def test_k16_the_mirror_a_lock_that_a_person_set_blocks_entries_until_it_is_cleared(
    tmp_path: Path,
) -> None:
    scene = Watched(tmp_path)
    await scene.look()
    assert scene.standing is TradingState.ACTIVE

    scene.broker.is_suspended = True
    await scene.look()

    assert scene.alerts.count(("account.mismatch", SET)) == 1
    assert scene.standing is TradingState.REDUCING
    assert shown(tmp_path) == SET
    assert not scene.latch.read().is_engaged
    scene.broker.is_suspended = False
    await scene.look()
    assert scene.standing is TradingState.ACTIVE
    assert shown(tmp_path) == "clear"


@pytest.mark.parametrize("offers_lock", [True, False])
@virtual
async def test_a_latch_without_the_brokers_lock_is_no_mismatch(
    tmp_path: Path, offers_lock: bool
) -> None:
    scene = Watched(tmp_path)
    scene.broker.offers_suspend = offers_lock
    if offers_lock:
        scene.desk.halt("drawdown")
    else:
        await killed(scene)

    await scene.look()

    assert scene.alert_kinds()["account.mismatch"] == 0


@virtual
async def test_a_resume_that_is_seen_half_done_is_no_mismatch(tmp_path: Path) -> None:
    scene = Watched(tmp_path)
    await killed(scene)
    await scene.look()
    scene.broker.is_suspended = False
    reads = 0

    def release(name: str) -> None:
        nonlocal reads
        reads += name == "account"
        if reads == 2:
            scene.latch.release("safe again", scene.clock.now())

    scene.broker.on_read = release
    await scene.look()

    assert scene.alert_kinds()["account.mismatch"] == 0
