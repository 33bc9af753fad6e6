"""Symbols that end: delisted, bought for cash, or renamed, from one night to the next day."""

from domain.account import ActivityKind
from domain.ids import Symbol
from tests.simulation.market import SYMBOLS
from tests.simulation.truth import Truth


def end_one(truth: Truth) -> None:
    """End a symbol: no price moves any more, no bar comes, no order is taken."""
    faults = truth.faults
    held = [symbol for symbol in SYMBOLS if truth.positions.get(symbol)]
    among = held if held and faults.dice("asset.ended").random() < 0.8 else list(SYMBOLS)
    symbol = faults.pick("asset.ended", among)
    how = faults.pick("asset.ended:how", ["stays", "stays", "bought out", "renamed"])
    for order in truth.open_orders():
        if order.symbol == symbol:
            truth.end(order, "canceled")
    truth.market.ended.add(symbol)
    truth.write("ended symbol", symbol, how)
    quantity = truth.positions.get(symbol)
    if not quantity or how == "stays":
        return
    truth.slip_in(symbol, -quantity)
    if how == "bought out":
        truth.pay(ActivityKind.OTHER, quantity * truth.price(symbol), symbol)
        return
    name = Symbol(f"{symbol}X")
    truth.market.former[name] = symbol
    truth.slip_in(name, quantity)
