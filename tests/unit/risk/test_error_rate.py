from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.error_rate import ErrorLimit, ErrorWindow, Tally, judged
from risk.settings import RiskLimits

LIMIT = ErrorLimit(max_pct=Decimal(25), least_errors=3, window_seconds=60)


@pytest.mark.parametrize(
    ("operations", "errors", "is_too_much"),
    [
        (0, 0, False),
        (2, 2, False),  # too few to judge
        (3, 3, True),
        (12, 3, True),  # exactly the share
        (13, 3, False),
        (1000, 249, False),
        (1000, 250, True),
    ],
)
def test_too_much_is_both_enough_errors_and_their_share(
    operations: int, errors: int, is_too_much: bool
) -> None:
    assert bool(judged(Tally(operations=operations, errors=errors), LIMIT)) is is_too_much


def test_the_reason_names_figures_and_limit() -> None:
    reason = judged(Tally(operations=12, errors=3), LIMIT)

    assert reason == "3 of 12 operations failed within 60 s, the limit is 25 %"


def test_errors_older_than_the_window_do_not_count() -> None:
    window = ErrorWindow(LIMIT)
    assert not window.record(0, is_error=True)
    assert not window.record(1, is_error=True)

    assert not window.record(61, is_error=True)

    assert window.tally(61) == Tally(operations=1, errors=1)


def test_after_a_judgment_the_count_begins_anew() -> None:
    window = ErrorWindow(LIMIT)
    told = [window.record(second, is_error=True) for second in range(7)]

    assert [bool(reason) for reason in told] == [False, False, True, False, False, True, False]


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_the_window_counts_what_a_plain_count_finds(steps: list[tuple[float, bool]]) -> None:
    never = ErrorLimit(max_pct=Decimal(25), least_errors=10_000, window_seconds=60)
    window, seen, at = ErrorWindow(never), [], 0.0
    for pause, is_error in steps:
        at += pause
        window.record(at, is_error=is_error)
        seen.append((at, is_error))
        inside = [error for moment, error in seen if moment > at - 60]
        assert window.tally(at) == Tally(operations=len(inside), errors=sum(inside))


def test_the_keys_of_the_configuration_make_the_limit() -> None:
    limit = RiskLimits(
        max_order_error_pct=Decimal(10), min_order_errors=7, order_error_window_seconds=120
    ).order_errors

    assert limit == ErrorLimit(max_pct=Decimal(10), least_errors=7, window_seconds=120)
