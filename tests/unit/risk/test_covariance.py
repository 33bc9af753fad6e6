import dataclasses
import datetime as dt
import math
from typing import Any

import numpy as np
import pytest

from domain.errors import SizingError
from domain.ids import Symbol
from domain.market import Bar
from risk.covariance import ledoit_wolf, return_model
from tests.support.vectors import assert_matches, cases, inputs

AAA, BBB = Symbol("AAA"), Symbol("BBB")


def bars(symbol: Symbol, closes: list[float], *, skip: int | None = None) -> tuple[Bar, ...]:
    start = dt.datetime(2022, 1, 3, tzinfo=dt.UTC)
    return tuple(
        Bar(symbol=symbol, at=start + dt.timedelta(days=i), close=close)
        for i, close in enumerate(closes)
        if i != skip
    )


def walk(seed: int, count: int = 61, sigma: float = 0.01) -> list[float]:
    steps = np.random.default_rng(seed).normal(0, sigma, count)
    return [100 * math.exp(step) for step in np.cumsum(steps)]


@pytest.mark.parametrize("vector", cases("ledoit_wolf"))
def test_ledoit_wolf_matches_the_reference(vector: Any) -> None:
    assert_matches(vector, ledoit_wolf(np.array(inputs(vector)["X"])))


@pytest.mark.parametrize("rows", [[[0.1, 0.2]], [[0.1, math.nan], [0.2, 0.1]], [[]]])
def test_ledoit_wolf_refuses_what_gives_no_covariance(rows: list[list[float]]) -> None:
    with pytest.raises(SizingError):
        ledoit_wolf(np.array(rows))


def test_one_symbol_has_correlation_one_and_its_own_volatility() -> None:
    closes = walk(1)

    model = return_model({AAA: bars(AAA, closes)}, [AAA], 60)

    # To the last bit it depends on the processor: BLAS sums in other orders on other ones.
    assert model.correlation == pytest.approx(np.array([[1.0]]), rel=1e-12)
    assert model.volatility[0] == pytest.approx(np.diff(np.log(closes)).std())


def test_a_quiet_symbol_is_not_made_volatile_by_its_neighbor() -> None:
    history = {AAA: bars(AAA, walk(1, sigma=0.001)), BBB: bars(BBB, walk(2, sigma=0.05))}

    model = return_model(history, [AAA, BBB], 60)

    assert model.volatility[0] == pytest.approx(0.001, rel=0.3)
    assert abs(model.correlation[0, 1]) < 0.5


def test_series_are_joined_on_dates_and_a_gap_leaves_the_symbol_out() -> None:
    history = {AAA: bars(AAA, walk(1)), BBB: bars(BBB, walk(2), skip=40)}

    model = return_model(history, [AAA, BBB], 60)

    assert model.symbols == (AAA,)
    assert model.left_out == {BBB: "history has a gap on 2022-02-12"}


def test_short_missing_and_constant_histories_are_left_out_with_a_reason() -> None:
    history = {AAA: bars(AAA, walk(1)), BBB: bars(BBB, [100.0] * 61)}

    model = return_model(history, [AAA, BBB, Symbol("CCC")], 60)

    assert model.symbols == (AAA,)
    assert model.left_out[BBB] == "price never moved"
    assert model.left_out[Symbol("CCC")].startswith("history has a gap")
    assert (
        return_model({AAA: bars(AAA, walk(1, 15))}, [AAA], 60)
        .left_out[AAA]
        .startswith("history shorter")
    )


def test_nothing_to_model_gives_an_empty_model() -> None:
    assert return_model({}, [], 60).symbols == ()


def test_a_stray_bar_of_one_symbol_is_no_gap_in_the_others() -> None:
    names = [AAA, BBB, Symbol("CCC")]
    history = {name: bars(name, walk(n)) for n, name in enumerate(names)}
    stray = dataclasses.replace(history[AAA][-1], at=dt.datetime(2022, 5, 1, tzinfo=dt.UTC))

    model = return_model({**history, AAA: (*history[AAA], stray)}, names, 60)

    assert model.symbols == tuple(names)
