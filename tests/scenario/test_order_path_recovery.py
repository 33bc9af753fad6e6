"""After a crash: an order that is proven absent goes out again, once, under its own id."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

from domain.ids import ClientOrderId
from domain.orders import OrderRequest, OrderState
from execution.evidence import Sight
from tests.support.fake_broker import lost_after
from tests.support.order_scene import CUTOFF, RUN_ID, Scene, approved, posted, request
from tests.support.virtual_time import OPENING, virtual


def crashed_while_sending(directory: Path, wanted: OrderRequest) -> Scene:
    """Return the scene of the next process: durably SENDING, and nothing at the broker."""
    scene = Scene(directory)
    scene.path.stage([approved(wanted)], RUN_ID)
    scene.journal.mark_sending(wanted.client_order_id)
    scene.restart()
    return scene


@contextlib.asynccontextmanager
async def settling(scene: Scene) -> AsyncIterator[None]:
    """Settle doubts in the background, as the daemon does."""
    task = asyncio.create_task(scene.path.settle_for_ever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def reconcile_for(scene: Scene, seconds: float) -> None:
    until = scene.clock.monotonic() + seconds
    while scene.clock.monotonic() < until:
        await scene.reconcile_calmly()


@virtual
async def test_a03_an_order_that_never_arrived_is_sent_again_after_the_proof_and_not_before(
    tmp_path: Path,
) -> None:
    wanted = request()
    scene = crashed_while_sending(tmp_path, wanted)

    async with settling(scene):
        left = await scene.path.recover(cutoff=CUTOFF)
        started = scene.clock.monotonic()
        assert left == ()
        await reconcile_for(scene, 110)
        assert posted(scene) == []
        await reconcile_for(scene, 60)

    assert started < 1
    assert posted(scene) == [wanted.client_order_id]
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_a03_past_the_cut_off_it_is_given_up_and_watched(tmp_path: Path) -> None:
    wanted = request()
    scene = crashed_while_sending(tmp_path, wanted)

    async with settling(scene):
        await scene.path.recover(cutoff=OPENING - dt.timedelta(minutes=1))
        await reconcile_for(scene, 200)

    assert posted(scene) == []
    assert scene.state_of(wanted) is OrderState.ABANDONED


@virtual
async def test_an_order_of_a_session_that_is_over_is_not_sent_for_the_next_one(
    tmp_path: Path,
) -> None:
    # Found as seed 147 of the simulation: a restart after the close had the cut-off of the
    # next session, until which the entry that a crash had cut off was sent again.
    wanted = request()
    scene = crashed_while_sending(tmp_path, wanted)

    async with settling(scene):
        await scene.path.recover(cutoff=CUTOFF + dt.timedelta(days=3))
        await reconcile_for(scene, 200)

    assert posted(scene) == []
    assert scene.state_of(wanted) is OrderState.ABANDONED


@virtual
async def test_a_look_that_was_on_its_way_when_an_order_left_again_is_no_evidence(
    tmp_path: Path,
) -> None:
    # Found as seed 700517: its answer came after the count had begun anew.
    scene = Scene(tmp_path)
    wanted = request()
    evidence = scene.path.evidence
    asked = asyncio.Event()
    answer = asyncio.Event()

    async def slow(_order_id: ClientOrderId) -> None:
        asked.set()
        await answer.wait()

    scene.broker.find_order = slow  # type: ignore[method-assign,assignment]
    look = asyncio.create_task(evidence.look(wanted.client_order_id))
    await asked.wait()
    evidence.forget(wanted.client_order_id)
    answer.set()
    await look

    for _ in range(scene.desk.settings.absence_reads - 1):
        await scene.clock.sleep(scene.desk.settings.absence_seconds)
        assert await evidence.look(wanted.client_order_id) is Sight.NOT_YET


@virtual
async def test_what_was_seen_before_a_second_send_is_no_evidence_after_it(
    tmp_path: Path,
) -> None:
    # Found as seed 27 of the simulation: the look before the send counted after it.
    wanted = request()
    scene = crashed_while_sending(tmp_path, wanted)
    scene.journal.mark_unknown(wanted.client_order_id, "no answer")
    evidence = scene.path.evidence
    for _ in range(3):
        assert await evidence.look(wanted.client_order_id) is Sight.NOT_YET
        await scene.clock.sleep(50)

    assert scene.path._sender.mark_again(wanted.client_order_id)
    assert await evidence.look(wanted.client_order_id) is Sight.NOT_YET


@virtual
async def test_a03_one_that_did_arrive_is_found_and_never_sent_again(tmp_path: Path) -> None:
    wanted = request()
    scene = Scene(tmp_path)
    scene.broker.visible_after_seconds = 90
    scene.path.stage([approved(wanted)], RUN_ID)
    scene.journal.mark_sending(wanted.client_order_id)
    scene.broker._accept_request(wanted)
    scene.restart()

    async with settling(scene):
        await scene.path.recover(cutoff=CUTOFF)
        await reconcile_for(scene, 300)

    assert posted(scene) == []
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_k06_after_a_kill_nothing_is_sent_again(tmp_path: Path) -> None:
    wanted = request()
    scene = crashed_while_sending(tmp_path, wanted)
    scene.desk.halt("drill")

    async with settling(scene):
        await scene.path.recover(cutoff=CUTOFF)
        await reconcile_for(scene, 300)

    assert posted(scene) == []


@virtual
async def test_a_doubt_that_outlives_its_send_goes_again_while_the_window_is_open(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.is_down = True

    async with settling(scene):
        report = await scene.send(wanted)
        assert not report.is_settled
        scene.broker.is_down = False
        await reconcile_for(scene, 400)

    assert posted(scene) == [wanted.client_order_id] * 2
    assert scene.state_of(wanted) is OrderState.LIVE
    assert len(scene.broker.orders) == 1


@virtual
async def test_a02_a_lost_answer_to_the_second_send_is_found_like_the_first(tmp_path: Path) -> None:
    wanted = request()
    scene = crashed_while_sending(tmp_path, wanted)
    scene.broker.submit_faults.append(lost_after())

    async with settling(scene):
        await scene.path.recover(cutoff=CUTOFF)
        await reconcile_for(scene, 400)

    assert posted(scene) == [wanted.client_order_id]
    assert scene.state_of(wanted) is OrderState.LIVE
