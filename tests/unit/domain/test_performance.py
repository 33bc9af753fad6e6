import dataclasses
import math
from typing import Any

import pytest

from domain.cash_flows import Flow, flow_returns, unit_nav
from domain.errors import DataError
from domain.performance import benchmark_metrics, performance_metrics, underwater
from domain.series import quantile, ratio
from domain.significance import deflated_sharpe, probabilistic_sharpe
from domain.trade_statistics import trade_statistics
from tests.support.vectors import assert_matches, cases, inputs


def measured(given: dict[str, Any]) -> Any:
    return performance_metrics(given["r"], rf=given.get("rf", 0.0), mar=given.get("mar", 0.0))


@pytest.mark.parametrize("vector", cases("performance_metrics"))
def test_metrics_match_the_reference(vector: Any) -> None:
    result = measured(inputs(vector))

    assert_matches(vector, result)
    assert set(vector["expected"]) == {field.name for field in dataclasses.fields(result)}


@pytest.mark.parametrize("vector", cases("performance_metrics", refused=True))
def test_metrics_refuse_too_few_returns_and_total_losses(vector: Any) -> None:
    with pytest.raises(DataError):
        measured(inputs(vector))


@pytest.mark.parametrize("bad", [[], [0.01, math.nan, 0.02], [0.01, math.inf]])
def test_metrics_refuse_what_is_not_a_series_of_returns(bad: list[float]) -> None:
    with pytest.raises(DataError):
        performance_metrics(bad)


def test_constant_returns_have_no_sharpe_even_where_rounding_leaves_a_spread() -> None:
    result = performance_metrics([0.0013] * 7)

    assert (result.vol_annual, result.sharpe_annual) == (0, None)


def test_sample_moments_need_enough_returns() -> None:
    two, three = performance_metrics([0.01, -0.01]), performance_metrics([0.01, -0.01, 0.02])

    assert (two.skew_sample_G1, two.excess_kurtosis_sample_G2) == (None, None)
    assert three.skew_sample_G1 is not None
    assert three.excess_kurtosis_sample_G2 is None


def test_a_loss_on_the_first_day_is_a_drawdown_and_may_never_recover() -> None:
    water = underwater([-0.1, 0.05])

    assert water.max_drawdown == pytest.approx(-0.1)
    assert (water.peak_index, water.trough_index, water.recovery_index) == (0, 1, None)
    assert water.longest_periods == 2


@pytest.mark.parametrize("vector", cases("benchmark_metrics"))
def test_benchmark_metrics_match_the_reference(vector: Any) -> None:
    given = inputs(vector)
    assert_matches(vector, benchmark_metrics(given["r"], given["b"]))


@pytest.mark.parametrize("vector", cases("benchmark_metrics", refused=True))
def test_benchmark_metrics_refuse_what_cannot_be_compared(vector: Any) -> None:
    given = inputs(vector)
    with pytest.raises(DataError):
        benchmark_metrics(given["r"], given["b"])


@pytest.mark.parametrize("vector", cases("deflated_sharpe"))
def test_deflated_sharpe_matches_the_reference(vector: Any) -> None:
    assert_matches(vector, deflated_sharpe(**inputs(vector)))


@pytest.mark.parametrize("vector", cases("deflated_sharpe", refused=True))
def test_deflated_sharpe_refuses_no_trials(vector: Any) -> None:
    with pytest.raises(DataError):
        deflated_sharpe(**inputs(vector))


def test_deflated_sharpe_refuses_impossible_moments() -> None:
    with pytest.raises(DataError):
        deflated_sharpe(sr=0.5, n=100, skew=9.0, kurt=3.0, trials=1, var_sr=0.0)
    assert probabilistic_sharpe(0.1, 10, None, None) is None


@pytest.mark.parametrize("vector", cases("trade_stats"))
def test_trade_statistics_match_the_reference(vector: Any) -> None:
    assert_matches(vector, trade_statistics(**inputs(vector)))


def test_trade_statistics_without_losses_have_no_payoff() -> None:
    given: dict[str, Any] = {"notional_traded": [0], "equity": [1], "long_mv": [0], "short_mv": [0]}

    result = trade_statistics(pnl=[1.0, 0.0], **given)

    assert (result.avg_loss, result.payoff, result.profit_factor) == (None, None, None)
    with pytest.raises(DataError):
        trade_statistics(pnl=[1.0], **{**given, "long_mv": [0, 0]})
    with pytest.raises(DataError):
        trade_statistics(pnl=[1.0], **{**given, "equity": [0]})


@pytest.mark.parametrize("vector", cases("hwm_with_flows"))
def test_unit_value_matches_the_reference(vector: Any) -> None:
    given = inputs(vector)
    result = unit_nav(given["equity"], given["flows"])
    names = {field.name for field in dataclasses.fields(result)}
    assert_matches(vector, result, *sorted(names))


@pytest.mark.parametrize("vector", cases("hwm_with_flows", refused=True))
def test_unit_value_ends_with_the_capital(vector: Any) -> None:
    given = inputs(vector)
    with pytest.raises(DataError):
        unit_nav(given["equity"], given["flows"])


def test_unit_value_refuses_series_of_different_length() -> None:
    with pytest.raises(DataError):
        unit_nav([1.0, 2.0], [0.0])


def returned(given: dict[str, Any]) -> Any:
    flows = [Flow(day=d, amount=a, value_before=v) for d, a, v in given["flows"]]
    return flow_returns(v0=given["v0"], v1=given["v1"], flows=flows, days=given["days"])


@pytest.mark.parametrize("vector", cases("twr_vs_mwr"))
def test_time_and_money_weighted_returns_match_the_reference(vector: Any) -> None:
    assert_matches(vector, returned(inputs(vector)))


@pytest.mark.parametrize("vector", cases("twr_vs_mwr", refused=True))
def test_returns_refuse_a_start_without_money(vector: Any) -> None:
    with pytest.raises(DataError):
        returned(inputs(vector))


def test_no_rate_explains_an_impossible_gain() -> None:
    with pytest.raises(DataError, match="internal rate"):
        flow_returns(v0=1.0, v1=1e9, flows=[], days=1)


def test_quantiles_interpolate_and_ratios_over_zero_are_undefined() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.25) == 1.5
    assert quantile([5.0], 0.9) == 5.0
    assert ratio(1.0, 0.0) is None
