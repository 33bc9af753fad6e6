"""Sizing holds its caps for any signals, and its orders do what they say."""

import dataclasses
import itertools
import math
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decisions import CombinedSignal
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.orders import Side
from domain.signals import Action
from risk.book import Book
from risk.gate import check_batch
from risk.reservations import Reservation, lowers_exposure
from risk.settings import RiskLimits
from risk.sizing import plan
from tests.support.decisions import AAA, BBB, CCC, combined, context, position, reservation, view

SYMBOLS = (AAA, BBB, CCC)
fast = settings(derandomize=True, max_examples=60, deadline=None)

wild = st.floats(allow_nan=True, allow_infinity=True)
sane = st.floats(-0.05, 0.05)
LIMITS = RiskLimits(
    max_position_pct=Decimal(8),
    max_gross_pct=Decimal(15),
    max_net_pct=Decimal(12),
    max_notional_per_day_usd=Decimal(12_000),
    allow_short=True,
)


def signals_for(symbol: Symbol, numbers: st.SearchStrategy[float]) -> Any:
    return st.builds(
        lambda action, confidence, expected, volatility, tilt: combined(
            symbol,
            action,
            confidence=confidence,
            expected_return=expected,
            volatility=volatility,
            sentiment_tilt=tilt,
        ),
        st.sampled_from(Action),
        st.floats(0.4, 1) | wild,
        numbers,
        st.floats(0.001, 0.1) | numbers,
        st.floats(0.5, 1.5) | wild,
    )


def books(numbers: st.SearchStrategy[float]) -> Any:
    return st.tuples(*(signals_for(symbol, numbers) for symbol in SYMBOLS))


holdings = st.dictionaries(st.sampled_from(SYMBOLS), st.integers(-70, 70).map(str), max_size=3)
working = st.lists(
    st.builds(
        reservation,
        st.sampled_from(SYMBOLS),
        st.sampled_from(Side),
        st.integers(1, 20).map(str),
        st.sampled_from((None, "98", "102")),
    ),
    max_size=2,
)


def book(
    held: dict[Symbol, str],
    at_work: list[Reservation],
    source: ForecastSource = ForecastSource.REMOTE,
) -> Book:
    positions = [position(symbol, quantity) for symbol, quantity in sorted(held.items())]
    return Book(
        view=view(SYMBOLS, positions=positions, source=source),
        limits=LIMITS,
        reservations=tuple(at_work),
    )


@fast
@given(signals=books(sane | wild), held=holdings, at_work=working)
def test_what_sizing_plans_breaks_no_cap_of_the_gate_and_exits_only_lower_exposure(
    signals: tuple[CombinedSignal, ...], held: dict[Symbol, str], at_work: list[Reservation]
) -> None:
    quantities = {symbol: Decimal(quantity) for symbol, quantity in held.items()}

    result = plan(book(held, at_work), signals)

    asked = context(
        positions=quantities,
        reservations=tuple(at_work),
        limits=LIMITS,
        confidences={signal.symbol: signal.confidence for signal in signals},
    )
    gated, _ = check_batch(result.requests, asked)
    for answer in gated:
        # What still denies is the other side at work, never the arithmetic.
        assert set(answer.reasons) <= {"self_cross", "duplicate_intent"}, answer
    for request in result.requests:
        is_exit = request.leg == "exit"
        current = quantities.get(request.symbol, Decimal(0))
        assert lowers_exposure(request, current, at_work) is is_exit
    assert len({(request.symbol, request.leg) for request in result.requests}) == len(
        result.requests
    )


@fast
@given(signals=books(sane), held=holdings)
def test_news_never_flips_a_sign_adds_an_order_or_moves_a_weight_beyond_its_bound(
    signals: tuple[CombinedSignal, ...], held: dict[Symbol, str]
) -> None:
    silent = tuple(dataclasses.replace(signal, sentiment_tilt=1.0) for signal in signals)

    loud, calm = plan(book(held, []), signals), plan(book(held, []), silent)

    for with_news, without in zip(loud.combined, calm.combined, strict=True):
        moved = abs(with_news.kelly_weight - without.kelly_weight)
        assert moved <= LIMITS.max_tilt * abs(without.kelly_weight) + 1e-12
        assert with_news.kelly_weight * without.kelly_weight >= 0
        assert with_news.action is without.action
    calm_orders = {(request.symbol, request.side) for request in calm.requests}
    assert {(request.symbol, request.side) for request in loud.requests} <= calm_orders


@fast
@given(
    signals=books(sane),
    held=holdings,
    source=st.sampled_from((ForecastSource.LOCAL, ForecastSource.NONE)),
)
def test_a_degraded_source_is_never_larger_in_any_symbol(
    signals: tuple[CombinedSignal, ...], held: dict[Symbol, str], source: ForecastSource
) -> None:
    healthy, degraded = plan(book(held, []), signals), plan(book(held, [], source), signals)

    for best, worse in zip(healthy.combined, degraded.combined, strict=True):
        assert abs(worse.kelly_weight) <= abs(best.kelly_weight)
        assert abs(worse.target_quantity) <= abs(best.target_quantity)
    if source is ForecastSource.NONE:
        assert all(request.leg == "exit" for request in degraded.requests)


@fast
@given(signals=books(sane), held=holdings)
def test_the_order_of_the_signals_does_not_matter(
    signals: tuple[CombinedSignal, ...], held: dict[Symbol, str]
) -> None:
    plans = {plan(book(held, []), order).requests for order in itertools.permutations(signals)}

    assert len(plans) == 1


@fast
@given(signals=books(wild))
def test_targets_and_weights_are_always_finite(signals: tuple[CombinedSignal, ...]) -> None:
    for signal in plan(book({}, []), signals).combined:
        assert math.isfinite(signal.kelly_weight)
        assert signal.target_quantity.is_finite()
