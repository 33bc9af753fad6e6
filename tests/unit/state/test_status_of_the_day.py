"""The day's gain or loss as status, dashboard, metrics and alerts show it."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from domain.clock import ManualClock
from state.equity import EquityCurve
from state.facts import Facts
from state.json_rows import Row
from state.reader import Reader
from state.risk_state import RiskState
from tests.support.state_builders import SESSION, START, open_store

LOOK = dt.timedelta(minutes=5)


class Account:
    """An account whose session began with 100,000 USD."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(START)
        self.store = store = open_store(directory, self.clock)
        self.curve, self.risk = EquityCurve(store), RiskState(store)
        Facts(store).put(session_date=SESSION.isoformat())
        self.look("100000")

    def look(self, equity: str) -> None:
        now, worth = self.clock.now(), Decimal(equity)
        self.risk.record_equity(worth, now, session_date=SESSION)
        self.curve.record(now, session_date=SESSION, equity=worth, cash=worth)
        self.clock.advance(LOOK)

    def transfer(self, amount: str) -> None:
        self.risk.record_cash_flow(Decimal(amount), f"{amount} at {self.clock.now()}")
        self.clock.advance(LOOK)

    def status(self) -> Row:
        with Reader(self.directory) as reader:
            return reader.status()


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path / "var")


def test_a_withdrawal_is_no_loss_of_the_day(account: Account) -> None:
    account.transfer("-5000")
    account.look("95000")

    status = account.status()

    assert (status["daily_pnl"], status["daily_pnl_pct"]) == ("0", 0.0)


def test_a_deposit_does_not_hide_a_loss_of_the_day(account: Account) -> None:
    account.transfer("5000")
    account.look("103950")

    status = account.status()

    # Of the capital at work, as the limit judges it.
    assert (status["daily_pnl"], status["daily_pnl_pct"]) == ("-1050", -1.0)


def test_money_that_came_after_the_last_reading_is_neither_loss_nor_drawdown(
    account: Account,
) -> None:
    account.look("99000")
    account.transfer("20000")

    status = account.status()

    assert status["equity"] == "99000"
    assert status["daily_pnl"] == "-1000"
    assert status["drawdown_pct"] == pytest.approx(100 / 120, abs=1e-6)


def test_money_that_came_before_the_session_began_is_in_its_start(tmp_path: Path) -> None:
    account = Account(tmp_path / "var")
    following = SESSION + dt.timedelta(days=1)
    account.transfer("5000")
    now, worth = account.clock.now(), Decimal(105_000)
    account.risk.record_equity(worth, now, session_date=following)
    account.curve.record(now, session_date=following, equity=worth, cash=worth)
    Facts(account.store).put(session_date=following.isoformat())

    assert account.status()["daily_pnl"] == "0"


def test_the_last_reading_of_the_day_before_makes_no_gain_of_a_day(account: Account) -> None:
    following = SESSION + dt.timedelta(days=1)
    Facts(account.store).put(session_date=following.isoformat())
    # Fallen overnight, and read by a look that keeps no point of the curve.
    account.risk.record_equity(Decimal(98000), account.clock.now(), session_date=following)

    status = account.status()

    assert status["equity"] == "100000"
    assert (status["daily_pnl"], status["daily_pnl_pct"]) == (None, None)
