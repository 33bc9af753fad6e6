"""Is an empty list of positions to be believed, beside what the account says?"""

from decimal import Decimal

import pytest

from domain.account import Account
from execution.comparing import is_doubtful


@pytest.mark.parametrize(
    ("equity", "cash", "expected"),
    [
        ("100000", "100000", False),
        ("100000", "90000", True),
        ("NaN", "100000", True),
        ("Infinity", "100000", True),
        # Found as seed 17000297: their difference is no number, and asking for it raises.
        ("Infinity", "Infinity", True),
    ],
)
def test_k11_an_empty_list_is_believed_only_beside_figures_that_are_numbers(
    equity: str, cash: str, expected: bool
) -> None:
    account = Account(
        account_number="PA1",
        status="ACTIVE",
        equity=Decimal(equity),
        last_equity=Decimal(100_000),
        cash=Decimal(cash),
        buying_power=Decimal(100_000),
        is_trading_blocked=False,
        is_suspended_by_user=False,
    )

    assert is_doubtful({}, account) is expected
