import datetime as dt
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from domain.clock import ManualClock
from domain.daily_pnl import daily_pnl
from domain.trading_state import TradingState
from risk.drawdown import (
    RiskAssessment,
    assess,
    drawdown_pct,
)
from risk.settings import RiskLimits
from state.risk_state import RiskState
from state.store import Store
from tests.support.vectors import assert_close, cases, inputs


def judged(**changes: Any) -> RiskAssessment:
    known: dict[str, Any] = {
        "equity": Decimal(100_000),
        "equity_age_seconds": 1.0,
        "high_water_mark": Decimal(100_000),
        "session_start": Decimal(100_000),
        "flows": Decimal(0),
        "limits": RiskLimits(),
    }
    return assess(**{**known, **changes})


@pytest.mark.parametrize("vector", cases("hwm_with_flows"))
def test_drawdown_from_the_additive_mark_matches_the_reference(vector: Any, tmp_path: Path) -> None:
    given = inputs(vector)
    equity = [Decimal(repr(value)) for value in given["equity"]]
    flows = [Decimal(repr(value)) for value in given["flows"]]
    clock = ManualClock(dt.datetime(2026, 6, 2, tzinfo=dt.UTC))
    store = Store.open(tmp_path, clock=clock)
    kept = RiskState(store)

    found = []
    for number, (value, flow) in enumerate(zip(equity, flows, strict=True)):
        if number:
            kept.record_cash_flow(flow, f"flow-{number}")
        kept.record_equity(value, clock.now(), session_date=clock.now().date())
        mark = kept.high_water_mark()
        assert mark is not None
        found.append(-drawdown_pct(value, mark) / 100)
    store.close()

    expected = vector["expected"]
    assert_close(vector, found, expected["drawdown_additive_hwm"], "drawdown")
    pnl = [
        daily_pnl(now, then, flow)
        for (then, now), flow in zip(pairwise(equity), flows[1:], strict=True)
    ]
    assert_close(vector, pnl, expected["daily_pnl"][1:], "daily_pnl")


def test_a_quiet_day_trades() -> None:
    calm = judged(equity=Decimal(99_000))

    assert calm.trading_state is TradingState.ACTIVE
    assert not calm.should_engage_latch
    assert (calm.daily_pnl, calm.daily_loss_pct, calm.drawdown_pct) == (-1000, 1, 1)


def test_a_gain_is_a_negative_loss() -> None:
    assert judged(equity=Decimal(101_000)).daily_loss_pct == -1


@pytest.mark.parametrize(
    ("equity", "state", "latches"),
    [
        ("98500.01", TradingState.ACTIVE, False),
        ("98500", TradingState.REDUCING, False),
        ("98000.01", TradingState.REDUCING, False),
        ("98000", TradingState.HALTED, True),
    ],
)
def test_daily_loss_reduces_then_halts_at_the_limit_itself(
    equity: str, state: TradingState, latches: bool
) -> None:
    result = judged(equity=Decimal(equity), high_water_mark=Decimal(equity))

    assert (result.trading_state, result.should_engage_latch) == (state, latches)
    assert bool(result.reasons) is (state is not TradingState.ACTIVE)


@pytest.mark.parametrize(("equity", "latches"), [("95000.01", False), ("95000", True)])
def test_drawdown_halts_at_the_limit_itself(equity: str, latches: bool) -> None:
    result = judged(equity=Decimal(equity), session_start=Decimal(equity))

    assert result.should_engage_latch is latches
    if latches:
        assert result.reasons == ("drawdown 5.00 % reached 5 %",)


@pytest.mark.parametrize(
    ("age", "is_fresh"), [(0.0, True), (300.0, True), (300.5, False), (-0.5, False)]
)
def test_equity_is_fresh_up_to_the_bound_itself_and_never_before_its_time(
    age: float, is_fresh: bool
) -> None:
    result = judged(equity_age_seconds=age)

    assert (result.trading_state is TradingState.ACTIVE) is is_fresh
    assert (result.drawdown_pct is not None) is is_fresh


def test_a_withdrawal_is_no_loss() -> None:
    result = judged(equity=Decimal(50_000), high_water_mark=Decimal(50_000), flows=Decimal(-50_000))

    assert result.trading_state is TradingState.ACTIVE
    assert result.daily_pnl == 0


def test_a_deposit_does_not_hide_a_loss() -> None:
    result = judged(
        equity=Decimal(146_000), high_water_mark=Decimal(150_000), flows=Decimal(50_000)
    )

    assert result.daily_pnl == -4000
    assert result.should_engage_latch


@pytest.mark.parametrize(
    "unknown",
    [
        {"equity": None},
        {"equity": Decimal("NaN")},
        {"equity": Decimal("sNaN")},
        {"equity": Decimal("-Infinity")},
        {"equity": Decimal(0)},
        {"equity": Decimal(1), "equity_age_seconds": None},
        {"equity": Decimal(1), "equity_age_seconds": 301.0},
        {"equity": Decimal(1), "equity_age_seconds": float("nan")},
    ],
)
def test_unknown_figures_block_entries_and_never_latch(unknown: dict[str, Any]) -> None:
    result = judged(**unknown)

    assert result.trading_state is TradingState.REDUCING
    assert not result.should_engage_latch
    assert result.reasons
    assert result.drawdown_pct is None
    assert result.daily_loss_pct is None


@pytest.mark.parametrize(
    "unknown",
    [
        {"session_start": None},
        {"session_start": Decimal("NaN")},
        {"flows": Decimal("NaN")},
        {"flows": Decimal("-Infinity")},
    ],
)
def test_a_drawdown_halts_also_where_the_loss_of_the_day_is_unknown(
    unknown: dict[str, Any],
) -> None:
    # Found as seed 50000046: a session without a first equity had no drawdown either.
    reached = judged(**unknown, equity=Decimal(95_000))
    below = judged(**unknown, equity=Decimal(95_001))

    assert reached.should_engage_latch
    assert reached.reasons == ("drawdown 5.00 % reached 5 %",)
    assert reached.daily_loss_pct is None
    assert not below.should_engage_latch
    assert below.trading_state is TradingState.REDUCING
    assert any("unknown" in reason for reason in below.reasons)


@pytest.mark.parametrize("unknown", [None, Decimal("NaN"), Decimal(0)])
def test_a_loss_of_the_day_halts_also_where_the_high_water_mark_is_unknown(
    unknown: Decimal | None,
) -> None:
    reached = judged(high_water_mark=unknown, equity=Decimal(98_000))
    below = judged(high_water_mark=unknown, equity=Decimal(98_001))

    assert reached.should_engage_latch
    assert reached.drawdown_pct is None
    assert not below.should_engage_latch
    assert below.reasons == ("high-water mark is unknown",)
