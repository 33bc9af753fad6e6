import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from domain.errors import SizingError
from risk.settings import RiskLimits
from risk.weights import Candidate, kelly_weights
from tests.support.decisions import AAA, BBB, history

HISTORY = {AAA: history(AAA), BBB: history(BBB)}


def candidate(**changes: Any) -> Candidate:
    known: dict[str, Any] = {"symbol": AAA, "sign": 1, "mean": 0.002, "volatility": 0.02}
    return Candidate(**{**known, **changes})


@pytest.mark.parametrize(
    "bad",
    [
        {"sign": 0},
        {"mean": -0.002},
        {"mean": float("nan")},
        {"mean": 1.5},
        {"volatility": 0.0},
        {"volatility": float("inf")},
        {"source_factor": 1.1},
        {"source_factor": float("nan")},
    ],
)
def test_a_candidate_that_cannot_be_sized_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SizingError, match="AAA"):
        candidate(**bad)


def test_a_full_book_leaves_nothing_for_candidates() -> None:
    result = kelly_weights([candidate()], HISTORY, RiskLimits(), kept_gross=1.0)

    assert result.by_symbol[AAA].full == 0


def test_what_is_kept_is_taken_off_the_gross_room() -> None:
    limits = RiskLimits(max_gross_pct=Decimal(100), max_position_pct=Decimal(50))

    result = kelly_weights([candidate()], HISTORY, limits, kept_gross=0.9)

    assert result.by_symbol[AAA].full == pytest.approx(0.1)


def test_a_symbol_twice_and_unknown_exposure_are_refused() -> None:
    with pytest.raises(SizingError):
        kelly_weights([candidate(), candidate()], HISTORY, RiskLimits())
    with pytest.raises(SizingError):
        kelly_weights([candidate()], HISTORY, RiskLimits(), kept_gross=float("nan"))


def test_news_is_ignored_where_it_would_break_the_net_cap() -> None:
    limits = RiskLimits(allow_short=True, max_net_pct=Decimal(5), max_gross_pct=Decimal(100))
    book = [
        candidate(mean=0.0005),
        candidate(symbol=BBB, sign=-1, mean=-0.00005, tilt=0.8),
    ]

    silent = [dataclasses.replace(item, tilt=1.0) for item in book]

    loud, calm = (kelly_weights(items, HISTORY, limits) for items in (book, silent))

    assert loud == calm
    assert sum(weight.full for weight in calm.by_symbol.values()) == pytest.approx(0.05)
