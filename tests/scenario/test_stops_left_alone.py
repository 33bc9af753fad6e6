"""What a protective stop leaves alone, since the books do not know yet what is held."""

from decimal import Decimal
from pathlib import Path

from domain.orders import OrderState, Side
from tests.scenario.test_stops import AAPL, TODAY, holding, look, sales
from tests.support.order_scene import request
from tests.support.virtual_time import virtual


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
