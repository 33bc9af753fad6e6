"""The curve of the dashboard: what was withdrawn was not lost."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.web.curve import equity_points
from domain.account import Activity, ActivityKind
from domain.clock import ManualClock
from state.equity import EquityCurve
from state.ledger import Ledger
from state.reader import Reader
from state.store import Store

FIRST = dt.datetime(2026, 6, 3, 20, 5, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Account:
    """An account that is read once a day, in cash."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(FIRST)
        self.store = Store.open(directory, clock=self.clock)

    def read(self, equity: str) -> None:
        EquityCurve(self.store).record(
            self.clock.now(),
            session_date=self.clock.now().date(),
            equity=Decimal(equity),
            cash=Decimal(equity),
        )
        self.clock.advance(DAY)

    def transfer(self, amount: str) -> None:
        now = self.clock.now()
        activity = Activity(
            activity_id=f"t-{now}",
            kind=ActivityKind.TRANSFER,
            at=now - DAY / 4,
            net_amount=Decimal(amount),
        )
        Ledger(self.store).apply_activity(activity)

    def drawdowns(self, most: int = 100) -> list[float]:
        with Reader(self.directory) as reader:
            return [point["drawdown_pct"] for point in equity_points(reader, most)]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def test_k12_a_withdrawal_is_no_drawdown_of_the_dashboard(account: Account) -> None:
    account.read("100000")
    account.transfer("-50000")
    account.read("50000")
    account.read("49500")

    assert account.drawdowns() == [0, 0, 1]


def test_k12_a_deposit_hides_no_drawdown_of_the_dashboard(account: Account) -> None:
    account.read("100000")
    account.read("96000")
    account.transfer("100000")
    account.read("196000")

    assert account.drawdowns() == [0, 4, 2]


def test_the_first_and_the_newest_reading_are_among_the_points(account: Account) -> None:
    for equity in ("100", "99", "98", "97", "96"):
        account.read(equity)

    assert account.drawdowns(most=3) == [0, 2, 4]
