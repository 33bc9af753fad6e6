"""Orders that were called off while their request was on its way: they leave no second time."""

import asyncio
from pathlib import Path

import pytest

from domain.errors import NotSent, OpenbellError, RateLimited
from domain.orders import OrderState
from tests.support.fake_broker import lost_before, refused
from tests.support.order_scene import CUTOFF, Scene, posted, request
from tests.support.virtual_time import virtual

WHY = "the symbol reached its stop"


async def called_off_on_the_wire(scene: Scene) -> None:
    """Send, and cancel while the first request has no answer yet."""
    sending = asyncio.create_task(scene.send(request()))
    await asyncio.sleep(0.005)
    assert scene.state_of(request()) is OrderState.SENDING
    assert not await scene.path.cancel(request().client_order_id, WHY)
    await sending


@pytest.mark.parametrize(
    "error", [RateLimited("wait", retry_after_seconds=1), NotSent("no connection")]
)
@virtual
async def test_an_order_called_off_before_the_broker_took_it_is_not_sent_again(
    tmp_path: Path, error: OpenbellError
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(refused(error))

    await called_off_on_the_wire(scene)

    assert scene.broker.orders == {}
    assert scene.state_of(request()) is OrderState.SKIPPED
    assert WHY in str(scene.journal.get(request().client_order_id))


@virtual
async def test_an_order_called_off_before_it_is_written_is_not_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    await called_off_on_the_wire(scene)

    assert posted(scene) == []
    assert scene.state_of(request()) is OrderState.SKIPPED


@virtual
async def test_an_order_called_off_in_doubt_is_given_up_and_not_sent_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(lost_before())
    sending = asyncio.create_task(scene.send(request()))
    await asyncio.sleep(1)
    assert scene.state_of(request()) is OrderState.UNKNOWN
    await scene.path.cancel(request().client_order_id, WHY)
    await sending
    while scene.state_of(request()) is OrderState.UNKNOWN and scene.clock.now() < CUTOFF:
        await scene.reconcile_calmly()

    assert len(posted(scene)) == 1
    assert scene.state_of(request()) is OrderState.ABANDONED


@virtual
async def test_an_intent_called_off_and_decided_anew_is_not_canceled_for_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(refused(RateLimited("wait", retry_after_seconds=1)))
    await called_off_on_the_wire(scene)

    await scene.send(request())
    await scene.clock.sleep(10)

    assert scene.state_of(request()) is OrderState.LIVE
    assert scene.broker.cancels == []
