"""What a protective stop leaves alone: what is not known, not allowed, or nobody's to sell."""

from decimal import Decimal
from pathlib import Path

import pytest

from domain.ids import Symbol
from domain.orders import OrderState, Side
from risk.settings import RiskLimits
from tests.support.order_scene import request
from tests.support.stop_scene import AAPL, LIMITS, TODAY, holding, look, look_on, sales
from tests.support.virtual_time import virtual


@pytest.mark.parametrize("price", ["0", "0.004"])
@virtual
async def test_a_holding_whose_price_is_none_is_told_once_since_no_stop_watches_it(
    tmp_path: Path, price: str
) -> None:
    scene = await holding(tmp_path)
    scene.broker.prices[AAPL] = Decimal(price)

    await look_on(scene, LIMITS, times=3)

    assert sales(scene) == []
    assert [text for kind, text in scene.alerts if kind == "stop.unwatched"] == [
        f"AAPL: its price is {price}, so no stop watches it; watch it yourself"
    ]


@virtual
async def test_a_holding_that_cost_nothing_is_told_once_since_no_stop_watches_it(
    tmp_path: Path,
) -> None:
    scene = await holding(tmp_path)
    spun_off = Symbol("MSFT")
    scene.broker.quantities[spun_off] = Decimal(5)
    scene.ledger.adopt_position(
        spun_off, Decimal(5), Decimal(0), "a spin-off", as_of=scene.clock.now()
    )

    await look_on(scene, LIMITS, times=2)
    await look(scene, limits=RiskLimits())

    assert [text for kind, text in scene.alerts if kind == "stop.unwatched"] == [
        "MSFT: its average cost is 0, so no stop watches it; watch it yourself"
    ]


@virtual
async def test_a_holding_on_which_the_books_differ_is_left_alone(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    scene.broker.quantities[AAPL] = Decimal(25)
    scene.broker.prices[AAPL] = Decimal(80)

    await look(scene)

    assert sales(scene) == []


@virtual
async def test_a_price_halved_by_a_split_is_told_and_not_sold(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    scene.broker.prices[AAPL] = Decimal(50)

    await look(scene, times=3)

    assert sales(scene) == []
    assert scene.alert_kinds()["stop.doubtful"] == 1


@virtual
async def test_with_the_latch_engaged_the_stop_is_told_and_not_sent(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    scene.desk.halt("a person stopped it")
    scene.broker.prices[AAPL] = Decimal(80)

    await look(scene, times=2)

    assert sales(scene) == []
    assert scene.alert_kinds()["stop.denied"] == 1
    assert "denied by trading_state, latch" in dict(scene.alerts)["stop.denied"]


@virtual
async def test_outside_the_session_nothing_is_looked_at(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    scene.broker.prices[AAPL] = Decimal(80)
    await scene.clock.sleep(7 * 3600)

    await look(scene)

    assert sales(scene) == []


@virtual
async def test_a_holding_with_executions_that_are_not_booked_is_left_until_they_are(
    tmp_path: Path,
) -> None:
    # Both lists still show the ten of before, and an order says that it sold five of them.
    scene = await holding(tmp_path)
    scene.broker.prices[AAPL] = Decimal(80)
    seen = await scene.broker.positions()
    selling = request(side=Side.SELL, quantity=5, leg="by plan")
    await scene.send(selling, cutoff=TODAY.close)
    order = scene.broker.order(selling.client_order_id)
    scene.broker.fill(order, 5, is_announced=False)
    scene.path.books.merge_order(scene.broker.order(selling.client_order_id))
    scene.broker.read_faults["positions"].extend(
        [[position for position in seen if position.symbol == AAPL]] * 2
    )
    assert scene.state_of(selling) is OrderState.FILLED
    assert scene.ledger.position(AAPL).quantity == 10

    await look(scene)
    assert sales(scene) == []

    await scene.reconcile_calmly()
    await look(scene)
    assert [sale.quantity for sale in sales(scene)] == [5]
