"""Caps and tilt hold for any vector, and what is not a number never passes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import SizingError
from risk.caps import cap_weights, tilt_weights
from risk.kelly import kelly_signed

any_float = st.floats(allow_nan=True, allow_infinity=True)
bounded = st.floats(min_value=-1e6, max_value=1e6)
fast = settings(derandomize=True, max_examples=200, deadline=None)


@fast
@given(
    weights=st.lists(any_float, max_size=8),
    cap=any_float,
    gross=any_float,
)
def test_capped_weights_are_inside_the_caps_or_refused(
    weights: list[float], cap: float, gross: float
) -> None:
    is_sound = (
        all(map(math.isfinite, weights))
        and math.isfinite(cap)
        and math.isfinite(gross)
        and cap > 0
        and gross > 0
    )
    if not is_sound:
        with pytest.raises(SizingError):
            cap_weights(np.array(weights), cap=cap, gross=gross)
        return

    try:
        capped, _ = cap_weights(np.array(weights), cap=cap, gross=gross)
    except SizingError:
        return  # sums beyond the range of floats are refused too

    assert np.abs(capped).max(initial=0) <= cap + 1e-12
    assert np.abs(capped).sum() <= gross + 1e-12
    assert np.all(np.sign(capped) * np.sign(weights) >= 0)


@fast
@given(
    weights=st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=8),
    tilts=st.lists(any_float, min_size=8, max_size=8),
    max_tilt=st.floats(0, 0.5),
)
def test_news_moves_a_weight_by_at_most_its_bound_and_never_its_sign(
    weights: list[float], tilts: list[float], max_tilt: float
) -> None:
    before, _ = cap_weights(np.array(weights), cap=0.1, gross=0.5)

    after = tilt_weights(
        before, np.array(tilts[: len(weights)]), max_tilt=max_tilt, cap=0.1, gross=0.5
    )

    assert np.all(np.abs(after - before) <= max_tilt * np.abs(before) + 1e-12)
    assert np.all(np.sign(after) == np.sign(before))
    assert np.abs(after).max() <= 0.1 + 1e-12
    assert np.abs(after).sum() <= 0.5 + 1e-12


@fast
@given(
    mu=st.lists(st.floats(-0.01, 0.01), min_size=3, max_size=3),
    signs=st.lists(st.sampled_from((-1.0, 1.0)), min_size=3, max_size=3),
    correlation=st.floats(-0.45, 0.95),
)
def test_signed_kelly_is_an_optimum_among_weights_of_the_wished_signs(
    mu: list[float], signs: list[float], correlation: float
) -> None:
    cov = 0.0002 * (np.eye(3) * (1 - correlation) + correlation)
    means, wished = np.array(mu), np.array(signs)

    found = kelly_signed(means, cov, wished)

    slope = wished * (means - cov @ found)
    assert np.all(found * wished >= 0)
    # Karush-Kuhn-Tucker: no gain left where something is held, only loss where nothing is.
    assert np.all(slope <= 1e-9)
    assert np.all(np.abs(slope[np.abs(found) > 1e-6]) <= 1e-8)
