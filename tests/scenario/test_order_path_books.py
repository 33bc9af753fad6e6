"""What a report of the broker does to the books at once, and what it leaves alone."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from domain.account import Activity, ActivityKind
from domain.errors import DuplicateOrder
from domain.orders import OrderState, Side
from execution.desk import OrderSettings
from state.risk_state import RiskState
from tests.support.fake_broker import SubmitFault, answered
from tests.support.order_scene import Scene, live_order, request
from tests.support.virtual_time import virtual

SYMBOLS = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")


@virtual
async def test_a_taken_order_is_in_the_books_by_its_answer_and_needs_no_read(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)

    await scene.send(request())

    assert scene.state_of(request()) is OrderState.LIVE
    assert scene.broker.reads == []


@virtual
async def test_a04_an_id_that_is_taken_is_looked_up_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    taken = DuplicateOrder("client_order_id must be unique")
    scene.broker.submit_faults.append(SubmitFault(error=taken, is_accepted=True))
    began = scene.clock.now()

    await scene.send(request())

    assert scene.state_of(request()) is OrderState.LIVE
    assert scene.clock.now() - began < dt.timedelta(seconds=1)
    assert scene.broker.reads == ["find_order"]


@virtual
async def test_a24_answers_for_other_orders_again_and_again_engage_the_latch(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    other = scene.broker.place_by_hand("MSFT", Side.BUY, 1, coid="other")
    scene.broker.submit_faults.extend([answered(lambda _: other)] * 5)

    await scene.send(*(request(symbol) for symbol in SYMBOLS))

    assert scene.latch.read().reason.startswith("error rate: 5 of ")


@virtual
async def test_a05_the_end_of_a_twin_ends_it_in_the_books(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.broker.ids_unique_for_ever = False
    wanted, order = await live_order(scene)
    scene.broker.fill(order, 10)
    twin = scene.broker._accept_request(wanted)
    scene.merge_stream()
    assert [record.symbol for record in scene.journal.working()] == [wanted.symbol]

    scene.broker.finish(twin, OrderState.CANCELED)
    scene.merge_stream()

    assert scene.journal.working() == ()
    assert scene.path.books.to_cancel == {}


@pytest.mark.parametrize("kind", [ActivityKind.FEE, ActivityKind.DIVIDEND, ActivityKind.OTHER])
@virtual
async def test_only_money_that_came_or_went_is_a_flow(tmp_path: Path, kind: ActivityKind) -> None:
    scene = Scene(tmp_path)
    flows = RiskState(scene.store)

    def row(name: str, of: ActivityKind) -> Activity:
        return Activity(
            activity_id=name, kind=of, at=scene.clock.now(), net_amount=Decimal(-50), symbol=None
        )

    assert scene.path.books.book_activity(row("first", kind))
    assert flows.flow_count() == 0
    assert scene.path.books.book_activity(row("second", ActivityKind.TRANSFER))
    assert not scene.path.books.book_activity(row("second", ActivityKind.TRANSFER))
    assert flows.flow_count() == 1


@pytest.mark.parametrize("is_long_only", [True, False])
@virtual
async def test_a_short_position_halts_only_where_none_is_allowed(
    tmp_path: Path, is_long_only: bool
) -> None:
    scene = Scene(tmp_path, settings=OrderSettings(is_long_only=is_long_only))
    await scene.send(request(side=Side.SELL))

    scene.broker.fill(scene.broker.order(request().client_order_id), 10)
    scene.merge_stream()

    assert scene.ledger.position(request().symbol).quantity == -10
    assert scene.latch.read().is_engaged is is_long_only
    assert scene.alert_kinds()["position.short"] == int(is_long_only)
