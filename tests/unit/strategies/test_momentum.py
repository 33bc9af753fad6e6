import datetime as dt
import math
import random
from itertools import pairwise
from statistics import NormalDist, fmean, stdev

import pytest

from domain.market import Bar
from domain.signals import Action, Signal
from strategies.momentum import Momentum, MomentumSettings, posterior_drift
from strategies.reversal import Reversal, ReversalSettings
from tests.support.decisions import AAA, view


def bars(drift: float, sigma: float, count: int = 260, last_moves: float = 0.0) -> tuple[Bar, ...]:
    draws = random.Random(7)
    first = dt.datetime(2022, 1, 3, tzinfo=dt.UTC)
    level, made = 0.0, []
    for day in range(count):
        level += drift + (sigma if day % 2 else -sigma) + draws.uniform(-1e-6, 1e-6)
        if day >= count - 5:
            level += last_moves / 5
        at = first + dt.timedelta(days=day)
        made.append(Bar(symbol=AAA, at=at, close=100 * math.exp(level)))
    return tuple(made)


def momentum(history: tuple[Bar, ...], **settings: float) -> Signal:
    rule = Momentum(settings=MomentumSettings(**settings))  # type: ignore[arg-type]
    (signal,) = rule.decide(view(history={AAA: history}))
    return signal


def reversal(history: tuple[Bar, ...], **settings: float) -> Signal:
    rule = Reversal(settings=ReversalSettings(**settings))  # type: ignore[arg-type]
    (signal,) = rule.decide(view(history={AAA: history}))
    return signal


def test_a_quiet_steady_trend_is_bought() -> None:
    signal = momentum(bars(drift=0.002, sigma=0.002))

    assert signal.action is Action.BUY
    assert signal.confidence > 0.9
    assert signal.expected_return > 0


def test_a_quiet_steady_fall_is_sold() -> None:
    assert momentum(bars(drift=-0.002, sigma=0.002)).action is Action.SELL


def test_the_reason_tells_what_the_price_did_and_not_its_logarithm() -> None:
    # 231 sessions of -0.3 % each leave half of the price; its log return is -69.5 %.
    assert "trend -50.1% over 231 sessions" in momentum(bars(drift=-0.003, sigma=0.002)).reason


def test_the_same_trend_in_a_wild_stock_is_not_believed() -> None:
    signal = momentum(bars(drift=0.002, sigma=0.05))

    assert signal.action is Action.HOLD
    assert signal.confidence < 0.60


def test_the_last_month_is_left_out() -> None:
    plain = momentum(bars(drift=0.001, sigma=0.01))
    jumped = momentum(bars(drift=0.001, sigma=0.01, last_moves=0.02))

    assert jumped.expected_return == pytest.approx(plain.expected_return, rel=0.02)


@pytest.mark.parametrize("rule", [Momentum(), Reversal()])
def test_a_history_that_is_too_short_or_flat_gives_no_signal(rule: Momentum | Reversal) -> None:
    flat = tuple(
        Bar(symbol=AAA, at=dt.datetime(2022, 1, 3, tzinfo=dt.UTC) + dt.timedelta(days=i), close=9.0)
        for i in range(300)
    )

    assert rule.decide(view(history={AAA: flat[:30]})) == []
    assert rule.decide(view(history={AAA: flat})) == []


def test_the_drift_is_shrunk_by_the_bayes_weight_of_the_reference() -> None:
    mean, variance = posterior_drift(0.0008, 0.012, 500, 0.0005)

    assert mean == pytest.approx(0.0003717472118959108)
    assert variance == pytest.approx(1.3382899628252788e-07)


def test_a_large_move_up_is_expected_to_give_a_part_back() -> None:
    signal = reversal(bars(drift=0.0, sigma=0.01, last_moves=0.2), give_back_fraction=0.1)

    assert signal.expected_return == pytest.approx(-0.02, abs=0.002)
    assert signal.action is Action.SELL


@pytest.mark.parametrize("moved", [0.2, -0.2])
def test_what_is_expected_to_be_given_back_is_a_simple_return(moved: float) -> None:
    history = bars(drift=0.0, sigma=0.03, last_moves=moved)
    log_returns = [math.log(new.close / old.close) for old, new in pairwise(history)]
    drift, variance = -0.1 * sum(log_returns[-5:]), 5 * stdev(log_returns[-65:-5]) ** 2
    draws = [
        math.exp(NormalDist(drift, math.sqrt(variance)).inv_cdf(n / 1e4)) for n in range(1, 10_000)
    ]

    signal = reversal(history)

    assert signal.expected_return == pytest.approx(fmean(draws) - 1, abs=2e-5)
    assert signal.volatility == pytest.approx(stdev(draws), rel=1e-3)


def test_a_small_move_is_left_alone() -> None:
    assert reversal(bars(drift=0.0, sigma=0.01)).action is Action.HOLD
