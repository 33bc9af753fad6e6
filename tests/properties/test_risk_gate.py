"""The gate holds its caps in every outcome of every order that may still fill."""

import dataclasses
import itertools
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.orders import OrderRequest, Side
from domain.trading_state import TradingState
from risk.context import GateContext
from risk.gate import check, check_batch
from risk.reservations import Reservation
from risk.settings import RiskLimits
from tests.support.decisions import AAA, BBB, CCC, context, mark, request, reservation

SYMBOLS = (AAA, BBB, CCC)
fast = settings(derandomize=True, max_examples=150, deadline=None)

symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from(Side)
shares = st.integers(1, 60).map(str)
prices = st.sampled_from(("97", "98", "99", "100", "101", "102"))
orders = st.builds(
    lambda symbol, side, quantity, limit, leg: request(symbol, side, quantity, limit, leg=leg),
    symbols,
    sides,
    shares,
    prices,
    st.sampled_from(("entry", "exit", "more")),
)
working = st.builds(reservation, symbols, sides, shares, st.none() | prices)
holdings = st.dictionaries(symbols, st.integers(-80, 80).map(Decimal), max_size=3)
tight = RiskLimits(
    max_position_pct=Decimal(8),
    max_gross_pct=Decimal(15),
    max_net_pct=Decimal(12),
    max_order_notional_usd=Decimal(5_000),
    max_notional_per_day_usd=Decimal(12_000),
    max_orders_per_day=5,
    allow_short=True,
)


def exposures(
    held: dict[Any, Decimal], orders_at_work: tuple[Reservation, ...]
) -> list[dict[Any, Decimal]]:
    """Return the positions of every subset of the orders filling."""
    outcomes = []
    for fills in itertools.product((False, True), repeat=len(orders_at_work)):
        after = dict(held)
        for order, is_filled in zip(orders_at_work, fills, strict=True):
            if is_filled:
                moved = order.quantity * order.side.sign
                after[order.symbol] = after.get(order.symbol, Decimal(0)) + moved
        outcomes.append(after)
    return outcomes


@fast
@given(
    held=holdings,
    at_work=st.lists(working, max_size=3),
    batch=st.lists(orders, max_size=4),
    state=st.sampled_from(TradingState),
)
def test_no_subset_of_fills_breaks_a_cap_that_the_gate_kept(
    held: dict[Any, Decimal],
    at_work: list[Reservation],
    batch: list[OrderRequest],
    state: TradingState,
) -> None:
    start = context(positions=held, reservations=tuple(at_work), limits=tight, trading_state=state)

    results, after = check_batch(batch, start)

    approved = [result.request for result in results if result.is_approved]
    entries = [r for r in approved if not _lowers_in_every_outcome(r, held, at_work)]
    equity = Decimal(100_000)
    for outcome in exposures(held, after.reservations):
        values = {symbol: quantity * Decimal(100) for symbol, quantity in outcome.items()}
        for entry in entries:
            assert (
                abs(values.get(entry.symbol, Decimal(0))) * 100 <= tight.max_position_pct * equity
            )
        if entries:
            assert sum(map(abs, values.values()), Decimal(0)) * 100 <= tight.max_gross_pct * equity
            assert abs(sum(values.values(), Decimal(0))) * 100 <= tight.max_net_pct * equity
    assert len(approved) <= tight.max_orders_per_day
    assert all(r.notional <= tight.max_order_notional_usd for r in approved)
    assert sum(r.notional for r in entries) <= tight.max_notional_per_day_usd
    if state is TradingState.HALTED:
        assert approved == []
    if state is TradingState.REDUCING:
        assert entries == []


def _lowers_in_every_outcome(
    order: OrderRequest, held: dict[Any, Decimal], at_work: list[Reservation]
) -> bool:
    return all(
        abs(outcome.get(order.symbol, Decimal(0)) + order.quantity * order.side.sign)
        < abs(outcome.get(order.symbol, Decimal(0)))
        for outcome in exposures(
            held, tuple(r for r in at_work if r.side is order.side and r.symbol == order.symbol)
        )
    )


TIGHTER: dict[str, Any] = {
    "max_position_pct": Decimal(1),
    "max_gross_pct": Decimal(1),
    "max_net_pct": Decimal(1),
    "max_order_notional_usd": Decimal(500),
    "max_notional_per_day_usd": Decimal(500),
    "max_orders_per_day": 1,
    "price_collar_pct": Decimal("0.5"),
    "exit_collar_pct": Decimal("0.5"),
    "min_confidence": 0.7,
    "max_adv_pct": Decimal("0.001"),
    "stale_after_seconds": 1,
    "equity_stale_after_seconds": 1,
    "reduce_at_daily_loss_pct": Decimal("0.5"),
    "max_drawdown_pct": Decimal("0.5"),
    "allow_short": False,
    "require_known_volume": True,
}


@fast
@given(
    order=orders,
    held=holdings,
    at_work=st.lists(working, max_size=2),
    keys=st.sets(st.sampled_from(sorted(TIGHTER)), min_size=1),
    loss=st.sampled_from(("0", "0.7", "1.2")),
)
def test_a_tighter_limit_never_approves_more(
    order: OrderRequest,
    held: dict[Any, Decimal],
    at_work: list[Reservation],
    keys: set[str],
    loss: str,
) -> None:
    loose = RiskLimits(allow_short=True, require_known_volume=False)
    asked = context(
        positions=held,
        reservations=tuple(at_work),
        limits=loose,
        daily_loss_pct=Decimal(loss),
        drawdown_pct=Decimal(loss),
    )
    tighter = dataclasses.replace(loose, **{key: TIGHTER[key] for key in keys})

    if check(order, dataclasses.replace(asked, limits=tighter)).is_approved:
        assert check(order, asked).is_approved


BAD = (Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"))
FIGURES = ("equity", "buying_power", "daily_loss_pct", "drawdown_pct", "opened_notional_today")


@fast
@given(
    order=orders,
    figure=st.sampled_from((*FIGURES, "mark", "held", "volume")),
    bad=st.sampled_from(BAD),
)
def test_no_entry_passes_on_a_figure_that_is_not_a_number(
    order: OrderRequest, figure: str, bad: Decimal
) -> None:
    assert not check(order, _with(figure, bad, order)).is_approved


def _with(figure: str, bad: Decimal, order: OrderRequest) -> GateContext:
    if figure == "mark":
        broken = dataclasses.replace(mark(), price=bad)
        return dataclasses.replace(context(), marks={order.symbol: broken})
    if figure == "held":
        return context(positions={order.symbol: bad})
    if figure == "volume":
        return context(average_volumes={order.symbol: bad})
    changes: dict[str, Any] = {figure: bad}
    return context(**changes)
