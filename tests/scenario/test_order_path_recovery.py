"""After a crash: an order that is proven absent goes out again, once, under its own id."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from domain.errors import AuthRefused, NotSent, OrderRejected, RateLimited
from domain.ids import ClientOrderId
from domain.orders import OrderRequest, OrderState
from domain.trading_state import TradingState
from execution.evidence import Sight
from state.pause import Pause
from tests.support.fake_broker import delivered_late, lost_after, refused
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


def _pause(scene: Scene) -> None:
    Pause(scene.directory).set("a person looks at something")


def _reduce(scene: Scene) -> None:
    scene.state = TradingState.REDUCING


def _lock(scene: Scene) -> None:
    scene.desk.lock(request().symbol, "a break")


def _halt(scene: Scene) -> None:
    scene.state = TradingState.HALTED


async def at_the_second_send(scene: Scene, wanted: OrderRequest) -> None:
    """Wait until a request is durably on its way again and has not been written yet."""
    record = scene.journal.get(wanted.client_order_id)
    while record is None or record.attempts < 2:
        await scene.clock.sleep(0.005)
        record = scene.journal.get(wanted.client_order_id)


async def assert_watched(scene: Scene, wanted: OrderRequest) -> None:
    """It counts, is told, and is canceled when its first request arrives after all."""
    assert posted(scene)[0] == wanted.client_order_id
    assert scene.broker.orders == {}
    assert scene.state_of(wanted) is OrderState.ABANDONED
    assert [record.request for record in scene.journal.working()] == [wanted]
    assert scene.alert_kinds()["order.abandoned"] == 1
    assert scene.path.stage([approved(wanted)], "another run") == ()

    await reconcile_for(scene, 600)

    assert len(scene.broker.orders) == 1
    assert scene.broker.working() == []
    assert scene.state_of(wanted) is OrderState.CANCELED


@virtual
@pytest.mark.parametrize("forbid", [_pause, _reduce, _lock, _halt])
async def test_a05_a_doubt_that_may_not_go_again_is_watched_and_not_called_unsent(
    tmp_path: Path, forbid: Callable[[Scene], None]
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(delivered_late(400))
    sending = asyncio.create_task(scene.send(wanted))
    await at_the_second_send(scene, wanted)

    forbid(scene)
    await sending

    assert len(posted(scene)) == 1
    await assert_watched(scene, wanted)


@virtual
@pytest.mark.parametrize(
    "answer", [OrderRejected("insufficient buying power", code=403), AuthRefused("401")]
)
async def test_a05_a_refusal_of_the_second_send_says_nothing_of_the_first(
    tmp_path: Path, answer: Exception
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.extend([delivered_late(400), refused(answer)])

    await scene.send(wanted)

    assert len(posted(scene)) == 2
    await assert_watched(scene, wanted)


@virtual
@pytest.mark.parametrize(
    "problem", [NotSent("no connection"), RateLimited("429", retry_after_seconds=1.0)]
)
async def test_a05_a_second_send_that_is_never_taken_leaves_the_doubt(
    tmp_path: Path, problem: Exception
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.extend([delivered_late(700), *[refused(problem)] * 20])

    await scene.send(wanted)

    await assert_watched(scene, wanted)


@virtual
async def test_a05_d01_a_death_before_the_third_send_does_not_make_a_doubt_unsent(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.extend([delivered_late(400), refused(NotSent("no connection"))])
    sending = asyncio.create_task(scene.send(wanted))
    await at_the_second_send(scene, wanted)
    await scene.clock.sleep(0.5)
    sending.cancel()
    scene.restart()

    left = await scene.path.recover(cutoff=OPENING - dt.timedelta(minutes=1))

    assert left == ()
    assert scene.state_of(wanted) is OrderState.UNKNOWN
    async with settling(scene):
        await scene.path.resolve_unknown()
    await assert_watched(scene, wanted)
