"""A plan on its way: durable first, each order once, answers that are clear."""

import datetime as dt
from pathlib import Path

import pytest

from domain.errors import (
    AuthRefused,
    NotSent,
    OrderRejected,
    RateLimited,
)
from domain.orders import BrokerOrder, OrderRequest, OrderState, Side
from execution.desk import OrderSettings
from tests.support.fake_broker import (
    SubmitFault,
    refused,
)
from tests.support.order_scene import RUN_ID, Scene, approved, denied, hold, posted, request
from tests.support.virtual_time import OPENING, virtual


@virtual
async def test_plan_is_durable_before_the_first_byte_leaves(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = [request("AAPL"), request("MSFT")]
    seen: list[list[OrderState]] = []
    scene.broker.before_write = lambda _: seen.append([scene.state_of(r) for r in wanted])

    report = await scene.send(*wanted)

    assert seen[0] == [OrderState.SENDING, OrderState.SENDING]
    assert report.count(OrderState.LIVE) == 2


@virtual
async def test_denied_orders_are_recorded_and_never_sent(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    yes, no = request("AAPL"), request("MSFT")

    await scene.path.send([approved(yes), denied(no)], RUN_ID)

    assert posted(scene) == [yes.client_order_id]
    assert scene.state_of(no) is OrderState.DENIED


@virtual
async def test_exits_go_before_entries(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=_one_at_a_time())
    await hold(scene, "TSLA", 10)
    entry, way_out = request("AAPL"), request("TSLA", Side.SELL, leg="exit")

    await scene.send(entry, way_out)

    assert posted(scene)[-2:] == [way_out.client_order_id, entry.client_order_id]


@virtual
async def test_at_most_n_requests_are_on_the_wire_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    on_wire, most = [0], [0]

    def up(_: str) -> None:
        on_wire[0] += 1
        most[0] = max(most[0], on_wire[0])

    def down(_: str) -> None:
        on_wire[0] -= 1

    scene.broker.before_write, scene.broker.after_write = up, None
    take = scene.broker._take

    async def counted(request: OrderRequest, fault: SubmitFault | None) -> BrokerOrder:
        try:
            return await take(request, fault)
        finally:
            down("")

    scene.broker._take = counted

    await scene.send(*[request(f"S{chr(65 + n)}") for n in range(12)])

    assert len(scene.broker.posts) == 12
    assert most[0] == 4


@virtual
async def test_plan_sent_a_second_time_sends_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()

    await scene.send(wanted)
    await scene.send(wanted)

    assert posted(scene) == [wanted.client_order_id]


@virtual
async def test_approved_order_that_never_left_is_handed_back_after_a_restart(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    send, drop = request("AAPL"), request("MSFT")
    scene.path.stage([approved(send), approved(drop)], RUN_ID)
    scene.restart()

    left = await scene.path.recover()
    skipped = scene.path.skip([record.client_order_id for record in left], "too late")
    report = await scene.send(send)

    assert {r.client_order_id for r in left} == {send.client_order_id, drop.client_order_id}
    assert report.count(OrderState.LIVE) == 1
    assert skipped == 2
    assert scene.state_of(drop) is OrderState.SKIPPED


@virtual
async def test_a07_429_waits_as_told_and_sends_the_same_id(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.append(refused(RateLimited("too many", retry_after_seconds=7)))

    await scene.send(wanted)

    (first, start), (second, again) = scene.broker.posts
    assert first == second
    assert (again - start).total_seconds() >= 7
    assert scene.state_of(wanted) is OrderState.LIVE


@virtual
async def test_a08_429_for_ever_ends_in_skipped_at_the_cutoff(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    limit = refused(RateLimited("too many", retry_after_seconds=0))
    scene.broker.submit_faults.extend([limit] * 1000)

    await scene.send(wanted, cutoff=OPENING + dt.timedelta(seconds=50))

    assert scene.state_of(wanted) is OrderState.SKIPPED
    assert 2 <= len(scene.broker.posts) <= 8
    assert all(at <= OPENING + dt.timedelta(seconds=50) for _, at in scene.broker.posts)


@pytest.mark.parametrize("after", [-1.0, float("nan"), 1e9, float("inf")])
@virtual
async def test_a09_absurd_retry_after_is_put_between_one_and_sixty_seconds(
    tmp_path: Path, after: float
) -> None:
    scene = Scene(tmp_path)
    scene.broker.submit_faults.append(refused(RateLimited("x", retry_after_seconds=after)))

    await scene.send(request())

    (_, start), (_, again) = scene.broker.posts
    assert 1 <= (again - start).total_seconds() <= 61


@virtual
async def test_a12_refused_keys_halt_and_stop_the_rest(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=_one_at_a_time())
    first, second = request("AAPL"), request("MSFT")
    scene.broker.submit_faults.append(refused(AuthRefused("401")))

    await scene.send(first, second)

    assert len(scene.broker.posts) == 1
    assert "auth" in scene.latch.read().reason
    assert scene.state_of(first) is OrderState.REJECTED
    assert scene.state_of(second) is OrderState.SKIPPED


@virtual
async def test_a13_refused_order_is_closed_and_the_others_go_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    first, second = request("AAPL"), request("MSFT")
    scene.broker.submit_faults.append(refused(OrderRejected("insufficient buying power")))

    report = await scene.send(first, second)

    assert report.states == {
        first.client_order_id: OrderState.REJECTED,
        second.client_order_id: OrderState.LIVE,
    }
    assert len(scene.broker.posts) == 2
    record = scene.journal.get(first.client_order_id)
    assert record is not None
    assert "buying power" in record.reason
    assert {r.client_order_id for r in scene.journal.working()} == {second.client_order_id}


@virtual
async def test_a23_request_that_was_never_written_goes_again_with_the_same_id(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    wanted = request()
    scene.broker.submit_faults.extend([refused(NotSent("refused")), refused(NotSent("dns"))])

    await scene.send(wanted)

    assert posted(scene) == [wanted.client_order_id]
    assert scene.state_of(wanted) is OrderState.LIVE


def _one_at_a_time() -> OrderSettings:
    return OrderSettings(sends_at_once=1)
