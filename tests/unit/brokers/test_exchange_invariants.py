"""Whatever is asked of the exchange, its books balance and its journal retells them."""

import datetime as dt
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.exchange.book import Book
from brokers.exchange.codec import decode_event, encode_event
from brokers.exchange.orders import Amendment
from brokers.exchange.refusal import Refusal
from brokers.exchange.words import Status
from tests.support.exchange_world import AAPL, MSFT, Market

PRICES = st.integers(9500, 10500).map(lambda cents: str(Decimal(cents) / 100))
COMMANDS = st.one_of(
    st.tuples(
        st.just("order"),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 400).map(str),
        st.one_of(st.none(), PRICES),
        st.sampled_from(["day", "gtc", "ioc", "fok", "opg", "cls"]),
        st.sampled_from([AAPL, MSFT]),
    ),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("replace"), st.integers(0, 30), PRICES),
    st.tuples(st.just("bracket"), st.integers(1, 50).map(str)),
    st.tuples(st.just("close"), st.sampled_from([AAPL, MSFT])),
    st.tuples(st.just("wait"), st.integers(0, 40_000)),
)


def play(market: Market, command: tuple[object, ...]) -> None:
    exchange, orders = market.exchange, list(market.exchange.book.orders.values())
    match command:
        case ("order", side, quantity, limit, tif, symbol):
            market.order(str(side), str(quantity), limit=limit, tif=str(tif), symbol=symbol)  # type: ignore[arg-type]
        case ("cancel", int(place)) if orders:
            exchange.cancel(orders[place % len(orders)].id, market.now)
        case ("replace", int(place), price) if orders:
            change = Amendment(limit_price=Decimal(str(price)))
            exchange.replace(orders[place % len(orders)].id, change, market.now)
        case ("bracket", quantity):
            market.order(
                "buy", str(quantity), order_class="bracket", take_profit="104", stop_loss="96"
            )
        case ("close", symbol):
            exchange.close_position(symbol, market.now)  # type: ignore[arg-type]
        case ("wait", int(seconds)):
            market.wait(seconds)


@settings(max_examples=60, deadline=None)
@given(st.lists(COMMANDS, max_size=40), st.sampled_from([0.0, 0.5, 1.0]))
def test_books_balance_whatever_is_asked(
    commands: list[tuple[object, ...]], partial: float
) -> None:
    market = Market("09:00", partial_fraction=partial)
    for command in commands:
        try:
            play(market, command)
        except Refusal:
            continue
    market.wait(dt.timedelta(days=3).total_seconds())
    book = market.exchange.book

    spent = sum((e.quantity * e.side.sign * e.price for e in book.executions), Decimal(0))
    assert book.cash == 100_000 - spent
    for symbol in (AAPL, MSFT):
        signed = [e.quantity * e.side.sign for e in book.executions if e.symbol == symbol]
        assert book.holding(symbol).quantity == sum(signed)
    for order in book.orders.values():
        fills = [e for e in book.executions if e.order_id == order.id]
        assert order.filled_quantity == sum(e.quantity for e in fills)
        assert order.quantity is not None
        assert order.filled_quantity <= order.quantity
        assert (order.status is Status.FILLED) == (order.filled_quantity == order.quantity)
        assert order.tif == "gtc" or order.status.is_terminal

    retold = Book()
    for event in market.exchange.take_events():
        retold.apply(decode_event(encode_event(event)))
    assert retold.orders == book.orders
    assert retold.holdings == book.holdings
    assert retold.cash == book.cash
