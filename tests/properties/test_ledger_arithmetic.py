"""Average-cost arithmetic, against rational numbers."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from domain.money import decimal, text
from state.cost_basis import COST_GRID, Change, Holding, adopt, exact_sum, trade

quantities = st.decimals(
    min_value=-10_000, max_value=10_000, places=9, allow_nan=False, allow_infinity=False
).filter(bool)
prices = st.decimals(
    min_value=Decimal("0.0001"), max_value=100_000, places=6, allow_nan=False, allow_infinity=False
)
trades = st.lists(st.tuples(quantities, prices, st.booleans()), max_size=30)


def after(holding: Holding, change: Change) -> Holding:
    return Holding(
        quantity=exact_sum((holding.quantity, change.quantity)),
        total_cost=exact_sum((holding.total_cost, change.cost)),
    )


@given(trades)
def test_profit_is_exactly_cash_plus_cost_after_any_trades(
    steps: list[tuple[Decimal, Decimal, bool]],
) -> None:
    holding, cash, realized = Holding(), Fraction(0), Fraction(0)
    for quantity, price, is_adopted in steps:
        change = (adopt if is_adopted else trade)(holding, quantity, price)
        holding = after(holding, change)
        cash += Fraction(change.cash) - Fraction(change.in_kind)
        realized += Fraction(change.realized_pnl)
        assert Fraction(change.cash) - Fraction(change.in_kind) == -Fraction(quantity) * Fraction(
            price
        )

    assert realized == cash + Fraction(holding.total_cost)


@given(trades)
def test_cost_follows_the_rational_average_within_the_grid(
    steps: list[tuple[Decimal, Decimal, bool]],
) -> None:
    holding, held, cost = Holding(), Fraction(0), Fraction(0)
    roundings = 0
    for quantity, price, _ in steps:
        holding = after(holding, trade(holding, quantity, price))
        step = Fraction(quantity)
        closing = Fraction(0)
        if held * step < 0:
            closing = step if abs(step) <= abs(held) else -held
            cost -= cost * (-closing) / held
            roundings += 1
        cost += (step - closing) * Fraction(price)
        held += step

    assert Fraction(holding.quantity) == held
    # An average may be carried on from a remainder of few shares, so an error can grow with it.
    assert abs(Fraction(holding.total_cost) - cost) <= roundings * Fraction(COST_GRID)
    if held == 0:
        assert holding.total_cost == 0


@given(trades)
def test_cost_has_the_sign_of_the_holding(steps: list[tuple[Decimal, Decimal, bool]]) -> None:
    holding = Holding()
    for quantity, price, _ in steps:
        holding = after(holding, trade(holding, quantity, price))
        if abs(holding.total_cost) > COST_GRID * 100:
            assert holding.total_cost * holding.quantity > 0


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_every_decimal_survives_being_written(value: Decimal) -> None:
    written = text(value)

    assert decimal(written) == value
    assert "e" not in written.lower()
