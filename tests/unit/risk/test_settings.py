from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.config import load
from domain.errors import ConfigError
from risk.settings import BOUNDS, RiskLimits

REPOSITORY = Path(__file__).parents[3]


def test_the_defaults_are_the_published_ones() -> None:
    limits = RiskLimits()

    assert (limits.kelly_fraction, limits.min_confidence) == (0.25, 0.60)
    assert limits.reduce_at_daily_loss_pct == Decimal("1.5")
    assert limits.max_daily_loss_pct == Decimal("2.0")
    assert limits.max_drawdown_pct == Decimal("5.0")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kelly_fraction", 25.0),
        ("kelly_fraction", float("nan")),
        ("max_drawdown_pct", Decimal("NaN")),
        ("max_drawdown_pct", Decimal("Infinity")),
        ("max_drawdown_pct", Decimal(0)),
        ("max_drawdown_pct", 5),
        ("max_drawdown_pct", "5"),
        ("max_orders_per_day", True),
        ("max_orders_per_day", 0),
        ("allow_short", 1),
    ],
)
def test_a_bad_value_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"risk.{key}"):
        RiskLimits(**{key: value})


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"reduce_at_daily_loss_pct": Decimal(3)}, "risk.reduce_at_daily_loss_pct"),
        ({"exit_confidence": 0.7}, "risk.exit_confidence"),
        ({"min_order_notional_usd": Decimal(30_000)}, "risk.min_order_notional_usd"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RiskLimits(**keys)


def test_every_number_has_bounds() -> None:
    fields = RiskLimits.__dataclass_fields__
    numbers = {name for name, field in fields.items() if not isinstance(field.default, bool)}

    assert numbers == set(BOUNDS)


@pytest.mark.parametrize("file", ["config.toml", "daemon/alpaca_paper.toml"])
def test_a_limit_that_is_deleted_from_a_shipped_file_stays_what_it_was(file: str) -> None:
    # Gross exposure was 80 there and 100 without the line: a loosening that nobody wrote.
    assert load(REPOSITORY / file, {}).risk == RiskLimits()
