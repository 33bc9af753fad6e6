"""Whatever JSON comes in, the parsers return exact values or raise DataError."""

import copy
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers import alpaca_parsing as parsing
from domain.errors import DataError
from domain.orders import OrderState, Side
from tests.support.alpaca_words import ACCOUNT, order_json

CLOCK = {
    "timestamp": "2026-11-20T10:07:04.451420928-05:00",
    "is_open": True,
    "next_open": "2026-11-23T09:30:00-05:00",
    "next_close": "2026-11-20T16:00:00-05:00",
}
SESSION = {"date": "2026-11-27", "open": "09:30", "close": "13:00"}
ASSET = {"symbol": "AAPL", "status": "active", "tradable": True}
POSITION = {"symbol": "AAPL", "qty": "5", "side": "long", "avg_entry_price": "1"}
FILL = {
    "activity_type": "FILL",
    "id": "1::2",
    "order_id": "x",
    "symbol": "AAPL",
    "side": "buy",
    "qty": "4",
    "price": "2",
    "cum_qty": "4",
    "transaction_time": "2026-11-20T15:04:05Z",
}
FEE = {"activity_type": "FEE", "id": "1::3", "date": "2026-11-20", "net_amount": "-0.1"}
UPDATE = {
    "event": "fill",
    "execution_id": "e",
    "timestamp": "2026-11-20T15:04:05Z",
    "qty": "10",
    "price": "2",
    "order": order_json(filled_qty="10", status="filled"),
}

CASES: list[tuple[Callable[[object], object], dict[str, Any]]] = [
    (parsing.account, ACCOUNT),
    (parsing.held_value, ACCOUNT),
    (parsing.market_clock, CLOCK),
    (parsing.session, SESSION),
    (parsing.asset, ASSET),
    (parsing.position, POSITION),
    (parsing.order, order_json()),
    (parsing.activity, FILL),
    (parsing.activity, FEE),
    (parsing.trade_update, UPDATE),
]

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.text(max_size=40),
    st.sampled_from(
        [
            "NaN",
            "-Infinity",
            "1e400",
            "1e-400",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31",
            "9999-12-31T23:59:59-12:00",
            "2026-11-20T15:04:05",
            "2026-13-40",
            "23:59",
            "24:00",
            "x" * 500,
        ]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(("parse", "good"), CASES, ids=lambda case: getattr(case, "__name__", ""))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a25_one_wrong_field_gives_a_value_or_a_data_error_and_nothing_else(
    parse: Callable[[object], object], good: dict[str, Any], data: st.DataObject
) -> None:
    changed = copy.deepcopy(good)
    target = changed
    if isinstance(changed.get("order"), dict) and data.draw(st.booleans()):
        target = changed["order"]
    key = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        del target[key]
    else:
        target[key] = data.draw(VALUES)

    try:
        parsed = parse(changed)
    except DataError:
        return

    for number in _numbers(parsed):
        assert number.is_finite()
        assert abs(number) < Decimal(10) ** 32


@given(raw=VALUES)
def test_a25_any_document_at_all_gives_a_value_or_a_data_error(raw: object) -> None:
    for parse, _ in CASES:
        try:
            parse(raw)
        except DataError:
            continue


@pytest.mark.parametrize(("parse", "good"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a26_more_fields_than_we_know_change_nothing(
    parse: Callable[[object], object], good: dict[str, Any]
) -> None:
    assert parse({**good, "new_in_2031": {"deep": [1]}}) == parse(good)


def test_times_keep_their_instant_and_lose_only_nanoseconds() -> None:
    order = parsing.order(order_json(submitted_at="2026-11-20T10:04:05.123456999-05:00"))

    assert order.submitted_at == dt.datetime(2026, 11, 20, 15, 4, 5, 123456, tzinfo=dt.UTC)


def test_an_order_for_an_amount_of_money_has_a_quantity_once_it_has_ended() -> None:
    words = {"qty": None, "notional": "1000", "filled_qty": "1.5"}

    working = parsing.order(order_json(**words, status="partially_filled"))
    ended = parsing.order(order_json(**words, status="filled"))

    assert (working.quantity, working.filled_quantity) == (0, Decimal("1.5"))
    assert (ended.quantity, ended.filled_quantity) == (Decimal("1.5"), Decimal("1.5"))


def test_what_an_order_of_several_option_legs_executes_is_told_of_its_legs() -> None:
    spread = {"symbol": "", "side": "", "order_class": "mleg", "limit_price": "10"}
    filled = order_json(**spread, status="filled", filled_qty="1", filled_avg_price="1.28")

    update = parsing.trade_update({**UPDATE, "qty": "1", "price": "1.28", "order": filled})

    assert update.fill is None
    assert update.order.state is OrderState.FILLED
    assert (update.order.quantity, update.order.filled_quantity) == (0, 0)
    assert update.order.limit_price is None


def test_an_order_without_a_symbol_and_without_legs_is_an_error() -> None:
    with pytest.raises(DataError, match="symbol"):
        parsing.order(order_json(symbol=""))


def test_a_short_sale_in_the_log_is_a_sale() -> None:
    activity = parsing.activity({**FILL, "side": "sell_short"})

    assert activity.side == Side.SELL.value
    assert activity.net_amount == Decimal(8)


def test_a_rejected_time_without_zone_is_never_taken_for_local_time() -> None:
    with pytest.raises(DataError, match="submitted_at has no time zone"):
        parsing.order(order_json(submitted_at="2026-11-20T10:04:05"))


@pytest.mark.parametrize("zero", ["0", "0.0", 0])
def test_a_flat_account_holds_nothing(zero: object) -> None:
    assert parsing.held_value({**ACCOUNT, "long_market_value": zero}) == 0


def test_a_short_account_holds_something() -> None:
    account = {**ACCOUNT, "long_market_value": "0", "short_market_value": "-5"}

    assert parsing.held_value(account) == 5


def _numbers(parsed: object) -> list[Decimal]:
    names = getattr(parsed, "__slots__", ())
    values = [getattr(parsed, name) for name in names]
    return [value for value in values if isinstance(value, Decimal)]


@pytest.mark.parametrize(
    ("added", "description", "fraction"),
    [
        ("2", "ADD, From QTY:-25, To QTY:2.5, Position Value:250", "0.5"),
        ("2.5", "ADD, From QTY:-25, To QTY:2.5, Position Value:250", None),
        ("-2", "ADD, From QTY:25, To QTY:-2.5, Position Value:250", "-0.5"),
        ("-25", "REMOVE, From QTY:-25, To QTY:2.5, Position Value:250", None),
        ("20", "ADD, From QTY:-25, To QTY:2.5, Position Value:250", None),
        ("2", "1:10", None),
    ],
)
def test_b13_what_a_split_made_and_did_not_give_is_its_fraction(
    added: str, description: str, fraction: str | None
) -> None:
    row = {
        "activity_type": "SPLIT",
        "id": "1::4",
        "date": "2026-11-20",
        "net_amount": "0",
        "symbol": "AAPL",
        "qty": added,
        "description": description,
    }

    told = parsing.activity(row)

    assert told.fraction == (Decimal(fraction) if fraction else None)


def test_the_last_equity_is_that_of_the_close_that_the_account_names() -> None:
    assert parsing.account({**ACCOUNT, "balance_asof": "2026-11-19"}).last_close == dt.date(
        2026, 11, 19
    )
    assert parsing.account(ACCOUNT).last_close is None
    assert parsing.account({**ACCOUNT, "balance_asof": "soon"}).last_close is None


def test_the_history_of_equity_is_by_new_york_date_and_leaves_out_what_is_not_told() -> None:
    # Stamped at nine in the morning, at eight in the evening, and never.
    found = parsing.equity_history(
        {
            "timestamp": [1795096800, 1795222800, 1795309200],
            "equity": [Decimal("100000.0"), Decimal("100250.5"), None],
            "base_value": None,
        }
    )

    assert found == {
        dt.date(2026, 11, 19): Decimal(100_000),
        dt.date(2026, 11, 20): Decimal("100250.5"),
    }


@pytest.mark.parametrize(
    "raw",
    [
        [],
        {},
        {"timestamp": [1], "equity": []},
        {"timestamp": ["now"], "equity": [1]},
        {"timestamp": [10**30], "equity": [1]},
        {"timestamp": [1], "equity": ["much"]},
    ],
)
def test_a_history_that_is_none_is_refused(raw: object) -> None:
    with pytest.raises(DataError):
        parsing.equity_history(raw)
