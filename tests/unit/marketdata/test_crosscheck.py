import dataclasses
import datetime as dt

import pytest

from domain.errors import ProviderUnavailable
from domain.ids import Symbol
from domain.market import Bar
from marketdata.crosscheck import CheckRules, CrossCheckedBars
from tests.support.bars import MadeSource, made_series

AA, BB = Symbol("AA"), Symbol("BB")
START, END = dt.date(2022, 10, 3), dt.date(2022, 12, 14)
RULES = CheckRules()


def scaled(bars: list[Bar], factor: float) -> list[Bar]:
    return [
        dataclasses.replace(bar, open=None, high=None, low=None, close=bar.close * factor)
        for bar in bars
    ]


def setting() -> tuple[MadeSource, MadeSource, CrossCheckedBars]:
    first = MadeSource(made_series(AA, START, END), made_series(BB, START, END))
    second = MadeSource(made_series(AA, START, END), made_series(BB, START, END))
    return first, second, CrossCheckedBars(first, second, rules=RULES)


async def test_sources_that_agree_let_everything_pass() -> None:
    first, _, source = setting()

    assert await source.daily_bars([AA, BB], START, END) == first.bars
    assert source.quarantined == {}


async def test_g06_a_disagreement_withholds_that_symbol_only() -> None:
    _, second, source = setting()
    spike = second.bars[AA][-1]
    second.bars[AA][-1] = dataclasses.replace(spike, high=None, close=spike.close * 10)

    bars = await source.daily_bars([AA, BB], START, END)

    assert list(bars) == [BB]
    assert "two sources disagree on 2022-12-14" in source.quarantined[AA]


async def test_another_adjustment_of_the_same_prices_is_no_disagreement() -> None:
    first, second, source = setting()
    second.bars[AA] = scaled(second.bars[AA], 0.856)

    assert await source.daily_bars([AA, BB], START, END) == first.bars


async def test_an_old_disagreement_is_past() -> None:
    first, second, source = setting()
    old = second.bars[AA][3]
    second.bars[AA][3] = dataclasses.replace(old, high=None, close=old.close * 10)

    assert await source.daily_bars([AA, BB], START, END) == first.bars


async def test_a_hole_in_one_source_is_no_disagreement() -> None:
    first, second, source = setting()
    del second.bars[AA][-2]

    assert await source.daily_bars([AA, BB], START, END) == first.bars


async def test_a_second_source_that_is_silent_vetoes_nothing() -> None:
    first, second, source = setting()
    second.is_down = True

    assert await source.daily_bars([AA, BB], START, END) == first.bars
    assert "not checked against" in source.shortfalls[0]
    second.is_down = False
    await source.daily_bars([AA, BB], START, END)
    assert source.shortfalls == ()


async def test_what_the_second_source_does_not_have_is_not_called_checked() -> None:
    first, second, source = setting()
    del second.bars[AA]

    assert await source.daily_bars([AA, BB], START, END) == first.bars
    assert source.shortfalls == (
        "not checked against made: it has nothing of the last session of AA",
    )


async def test_a_second_source_that_ended_long_ago_is_named() -> None:
    first, second, source = setting()
    for symbol in (AA, BB):
        del second.bars[symbol][-1]

    assert await source.daily_bars([AA, BB], START, END) == first.bars
    assert "nothing of the last session of AA, BB" in source.shortfalls[0]


async def test_the_second_source_is_asked_for_recent_days_only() -> None:
    _, second, source = setting()

    await source.daily_bars([AA], START, END)

    ((_, start, end),) = second.asked
    assert (start, end) == (dt.date(2022, 11, 27), END)


async def test_a_first_source_that_is_silent_is_not_replaced() -> None:
    first, _, source = setting()
    first.is_down = True

    with pytest.raises(ProviderUnavailable):
        await source.daily_bars([AA], START, END)
