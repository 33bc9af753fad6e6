"""A remote forecast is paid for before it is asked, and a budget is never passed by one call."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.config import CostsConfig
from daemon.sources.budget import GPU, ForecastBudget
from domain.clock import ManualClock
from state.costs import Costs
from state.store import Store
from tests.support.state_builders import open_store

MORNING = dt.datetime(2022, 11, 14, 13, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class Scene:
    """A budget of 1 USD a day and 10 a month, at 0.40 a call."""

    def __init__(self, path: Path) -> None:
        self.store: Store = open_store(path)
        self.clock = ManualClock(MORNING)
        self.told: list[tuple[str, str]] = []
        self.budget = ForecastBudget(
            self.store,
            CostsConfig(gpu_usd_per_call=0.4, gpu_daily_budget_usd=1, monthly_budget_usd=10),
            clock=self.clock,
            note=lambda kind, text: self.told.append((kind, text)),
        )

    def spend(self, amount: str, at: dt.datetime, provider: str = GPU) -> None:
        Costs(self.store).book(provider, Decimal(amount), at)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "state")


@pytest.mark.parametrize(("spent", "may"), [("0.60", True), ("0.61", False)])
def test_h08_the_call_itself_counts_in_the_day_it_is_asked_for(
    scene: Scene, spent: str, may: bool
) -> None:
    scene.spend(spent, MORNING - HOUR)

    assert (scene.budget.refusal(5) is None) is may


@pytest.mark.parametrize(("spent", "may"), [("9.60", True), ("9.61", False)])
def test_h08_everything_that_costs_counts_in_the_month(scene: Scene, spent: str, may: bool) -> None:
    scene.spend(spent, MORNING - 48 * HOUR, provider="workers_ai")

    assert (scene.budget.refusal(5) is None) is may


def test_h08_a_budget_that_is_spent_is_told_once_a_day(scene: Scene) -> None:
    scene.spend("0.90", MORNING - HOUR)

    for _ in range(3):
        assert "today's GPU cost would be 1.30 USD" in str(scene.budget.refusal(5))
    assert [kind for kind, _ in scene.told] == ["budget.exhausted"]

    scene.clock.advance(24 * HOUR)
    assert scene.budget.refusal(5) is None
    scene.spend("0.90", scene.clock.now() - HOUR)
    assert scene.budget.refusal(5) is not None
    assert [kind for kind, _ in scene.told] == ["budget.exhausted"] * 2
