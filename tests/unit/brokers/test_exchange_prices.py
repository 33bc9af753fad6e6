"""The derived path of prices within a day."""

import datetime as dt
from decimal import Decimal

import pytest

from brokers.exchange.daily_path import DailyPath
from domain.ids import Symbol
from tests.support.exchange_world import (
    AAPL,
    CLOSES,
    DATES,
    HALF_DAY,
    MSFT,
    feed,
    moment,
    quote,
    sessions,
)


def path(symbol: Symbol) -> list[Decimal]:
    prices = []
    at = feed().next_change(moment("09:30") - dt.timedelta(seconds=1))
    while at is not None and at <= moment("16:00"):
        prices.append(quote(symbol, at).last)
        at = feed().next_change(at)
    return prices


def test_path_starts_at_the_open_touches_both_extremes_and_ends_at_the_close() -> None:
    prices = path(AAPL)

    assert prices[0] == 100
    assert min(prices) == 98
    assert max(prices) == 103
    assert prices[-1] == 102


def test_rising_day_falls_first_and_falling_day_rises_first() -> None:
    rising, falling = path(AAPL), path(MSFT)

    assert rising.index(Decimal(98)) < rising.index(Decimal(103))
    assert falling.index(Decimal(252)) < falling.index(Decimal(240))


def test_steps_are_five_minutes_and_the_last_one_is_the_close() -> None:
    assert len(path(AAPL)) == 79
    assert feed().next_change(moment("15:57")) == moment("16:00")


def test_half_day_ends_at_one() -> None:
    source = feed()

    assert source.next_change(moment("12:56", HALF_DAY)) == moment("13:00", HALF_DAY)
    assert quote(AAPL, moment("13:00", HALF_DAY)).last == 102


def test_price_before_the_open_is_yesterdays_close() -> None:
    assert quote(AAPL, moment("09:29:59")).last == 102
    assert quote(AAPL, moment("09:30")).last == 100


def test_no_price_is_known_before_the_recording_starts() -> None:
    assert feed().quote(AAPL, moment("09:29", DATES[0])) is None


def test_after_the_close_the_next_change_is_the_next_open() -> None:
    assert feed().next_change(moment("16:00")) == moment("09:30", dt.date(2022, 11, 23))
    assert feed().next_change(moment("16:00", DATES[-1])) is None


def test_bid_and_ask_lie_around_the_last_price_on_the_tick_grid() -> None:
    for clock in ("09:30", "11:11", "15:02"):
        seen = quote(AAPL, moment(clock))
        assert seen.bid < seen.last < seen.ask
        assert seen.bid % Decimal("0.01") == 0
        assert seen.ask - seen.bid <= Decimal("0.04")


@pytest.mark.parametrize(("symbol", "is_tradable"), [(AAPL, True), (CLOSES, False)])
def test_only_symbols_with_a_range_can_be_traded(symbol: Symbol, is_tradable: bool) -> None:
    listing = feed().listing(symbol)

    assert listing is not None
    assert listing.is_tradable is is_tradable


def test_close_only_symbol_still_has_a_price_after_its_first_close() -> None:
    assert quote(CLOSES, moment("12:00")).last == 110


def test_float_noise_of_a_recording_does_not_reach_the_prices() -> None:
    from domain.market import Bar

    noisy = Bar(
        symbol=AAPL, at=moment("00:00"), open=143.21000671386719, high=144.0, low=143.0,
        close=143.5, volume=1000.0,
    )  # fmt: skip
    source = DailyPath({AAPL: [noisy]}, sessions())

    found = source.quote(AAPL, moment("09:30"))
    assert found is not None
    assert found.last == Decimal("143.21")
