"""The limits, one function each: an order and what is known in, a named answer out.

Each is written so that an unknown or non-finite figure fails.  Limits of exposure do not
bind an order that can only lower exposure; limits of form bind every order.
"""

from collections.abc import Callable
from decimal import Decimal

from domain.decisions import LimitCheck
from domain.forecasts import ForecastSource
from domain.money import ZERO, text, tick
from domain.orders import OrderRequest, Side
from domain.trading_state import TradingState
from risk import reservations as worst
from risk.context import GateContext, is_known

Limit = Callable[[OrderRequest, GateContext], LimitCheck]

HUNDRED = Decimal(100)
CLOCK_TOLERANCE_SECONDS = 5.0
UNKNOWN = "unknown"
EXIT = "lowers exposure"


def trading_state(request: OrderRequest, context: GateContext) -> LimitCheck:
    """ACTIVE passes all, REDUCING only what lowers exposure, HALTED nothing."""
    state = context.trading_state
    is_exit = context.lowers_exposure(request)
    passed = state is TradingState.ACTIVE or (state is TradingState.REDUCING and is_exit)
    detail = EXIT if is_exit else context.trading_state_reason or "entry"
    return _check("trading_state", passed, state.value, "ACTIVE", detail)


def latch(_: OrderRequest, context: GateContext) -> LimitCheck:
    """Nothing leaves while the kill latch is engaged or cannot be read."""
    words = {True: "engaged", False: "released", None: UNKNOWN}
    engaged = context.is_latch_engaged
    return _check("latch", engaged is False, words[engaged], "released")


def symbol_lock(request: OrderRequest, context: GateContext) -> LimitCheck:
    """A locked symbol takes exits only."""
    reason = context.locks.get(request.symbol)
    passed = reason is None or context.lowers_exposure(request)
    figure = "free" if reason is None else "locked"
    return _check("symbol_lock", passed, figure, "free", reason or "")


def asset_tradable(request: OrderRequest, context: GateContext) -> LimitCheck:
    """The broker must list the symbol as tradable, and as shortable for a short sale."""
    asset = context.assets.get(request.symbol)
    if asset is None:
        return _check("asset_tradable", False, UNKNOWN, "tradable")
    opens_short = request.side is Side.SELL and not context.lowers_exposure(request)
    if opens_short and not asset.is_shortable:
        return _check("asset_tradable", False, "not shortable", "shortable")
    figure = "tradable" if asset.is_tradable else "not tradable"
    return _check("asset_tradable", asset.is_tradable, figure, "tradable")


def session_window(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Entries until the entry cut-off, exits until the exit cut-off, nothing outside."""
    window = context.window
    if window is None or request.session_date != context.session_date:
        figure = UNKNOWN if window is None else request.session_date.isoformat()
        return _check("session_window", False, figure, context.session_date.isoformat())
    is_exit = context.lowers_exposure(request)
    until = window.exits_until if is_exit else window.entries_until
    passed = window.opens_at <= context.now <= until
    bound = f"{window.opens_at.isoformat()} to {until.isoformat()}"
    return _check("session_window", passed, context.now.isoformat(), bound)


def confidence(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry needs the combined confidence."""
    bound = context.limits.min_confidence
    value = context.confidences.get(request.symbol)
    is_exit = context.lowers_exposure(request)
    passed = is_exit or (value is not None and bound <= value <= 1)
    figure = UNKNOWN if value is None else f"{value:.4f}"
    return _check("confidence", passed, figure, f"at least {bound}", EXIT if is_exit else "")


def forecast_source(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry needs a forecast from a named engine."""
    source = context.forecast_sources.get(request.symbol, ForecastSource.NONE)
    is_exit = context.lowers_exposure(request)
    passed = is_exit or source is not ForecastSource.NONE
    detail = EXIT if is_exit else ""
    return _check("forecast_source", passed, source.value, "remote or local", detail)


def data_age(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry needs data up to the last complete session, and not from beyond it."""
    mark, expected = context.marks.get(request.symbol), context.expected_data_date
    is_exit = context.lowers_exposure(request)
    is_fresh = mark is not None and expected is not None and mark.data_date == expected
    figure = UNKNOWN if mark is None else mark.data_date.isoformat()
    bound = UNKNOWN if expected is None else expected.isoformat()
    return _check("data_age", is_exit or is_fresh, figure, bound, EXIT if is_exit else "")


def price_known(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Every order needs a finite reference price above 0."""
    mark = context.marks.get(request.symbol)
    passed = mark is not None and is_known(mark.price)
    return _check("price_known", passed, UNKNOWN if mark is None else str(mark.price), "above 0")


def price_age(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry needs a reference price that is neither stale nor from the future."""
    bound = context.limits.stale_after_seconds
    mark = context.marks.get(request.symbol)
    is_exit = context.lowers_exposure(request)
    if mark is None:
        return _check("price_age", False, UNKNOWN, f"{bound} s")
    age = (context.now - mark.at).total_seconds()
    passed = is_exit or -CLOCK_TOLERANCE_SECONDS <= age <= bound
    return _check("price_age", passed, f"{age:.0f} s", f"{bound} s", EXIT if is_exit else "")


def price_collar(request: OrderRequest, context: GateContext) -> LimitCheck:
    """The limit price may not be worse than the reference by more than the collar."""
    limits = context.limits
    is_exit = context.lowers_exposure(request)
    collar = (
        max(limits.price_collar_pct, limits.exit_collar_pct) if is_exit else limits.price_collar_pct
    )
    mark = context.marks.get(request.symbol)
    if request.limit_price is None or mark is None or not is_known(mark.price):
        figure = "no limit price" if request.limit_price is None else UNKNOWN
        return _check("price_collar", False, figure, f"{text(collar)} %")
    # Multiplied out, so that a limit exactly at the collar is not lost to a division.
    adverse = request.side.sign * (request.limit_price - mark.price) * HUNDRED
    passed = adverse <= collar * mark.price
    return _check("price_collar", passed, _pct(adverse / mark.price), f"{text(collar)} %")


def order_form(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Price on the tick grid, quantity in whole shares or a fraction the broker takes."""
    limit = request.limit_price
    if limit is None or limit % tick(limit) != 0:
        return _check(
            "order_form", False, "none" if limit is None else text(limit), "price on grid"
        )
    asset = context.assets.get(request.symbol)
    is_whole = request.quantity == request.quantity.to_integral_value()
    may_split = asset is not None and asset.is_fractionable and context.lowers_exposure(request)
    return _check("order_form", is_whole or may_split, text(request.quantity), "whole shares")


def order_notional(request: OrderRequest, context: GateContext) -> LimitCheck:
    """No single order above the cap, whatever Kelly says."""
    bound = context.limits.max_order_notional_usd
    return _check("order_notional", request.notional <= bound, _usd(request.notional), _usd(bound))


def orders_per_day(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Count of the session, less what is kept for the first exit of each holding."""
    bound = context.limits.max_orders_per_day - context.orders_kept(request)
    count = context.orders_today + 1
    return _check("orders_per_day", count <= bound, str(count), str(max(0, bound)))


def notional_per_day(request: OrderRequest, context: GateContext) -> LimitCheck:
    """USD of opening orders in the session."""
    bound = context.limits.max_notional_per_day_usd
    is_exit = context.lowers_exposure(request)
    total = context.opened_notional_today + (ZERO if is_exit else request.notional)
    passed = is_exit or (total.is_finite() and total <= bound)
    return _check("notional_per_day", passed, _usd(total), _usd(bound), EXIT if is_exit else "")


def participation(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry may be only so much of the average daily volume."""
    limits = context.limits
    bound = f"{text(limits.max_adv_pct)} %"
    if context.lowers_exposure(request):
        return _check("participation", True, EXIT, bound)
    volume = context.average_volumes.get(request.symbol)
    if volume is None or not is_known(volume):
        passed = not limits.require_known_volume
        return _check("participation", passed, "volume unknown", bound)
    passed = request.quantity * HUNDRED <= limits.max_adv_pct * volume
    return _check("participation", passed, _pct(request.quantity * HUNDRED / volume), bound)


def position_pct(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Worst reachable value of the symbol, as a share of equity."""
    bounds = context.reaches_with(request)
    value = bounds[request.symbol].worst if bounds is not None else None
    return _share("position_pct", value, context.limits.max_position_pct, request, context)


def gross_pct(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Worst reachable gross exposure, as a share of equity."""
    bounds = context.reaches_with(request)
    value = worst.gross(bounds) if bounds is not None else None
    return _share("gross_pct", value, context.limits.max_gross_pct, request, context)


def net_pct(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Worst reachable net exposure, as a share of equity."""
    bounds = context.reaches_with(request)
    value = worst.net(bounds) if bounds is not None else None
    return _share("net_pct", value, context.limits.max_net_pct, request, context)


def buying_power(request: OrderRequest, context: GateContext) -> LimitCheck:
    """What this and all reserved orders may open must be covered."""
    available, reserved = context.buying_power, context.opening_notional()
    if context.lowers_exposure(request):
        return _check("buying_power", True, EXIT, _usd(available))
    if available is None or not available.is_finite() or reserved is None:
        return _check("buying_power", False, UNKNOWN, _usd(available))
    needed = reserved + request.notional
    return _check("buying_power", needed <= available, _usd(needed), _usd(available))


def long_only(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Without leave to short, a sale may not pass flat in any outcome."""
    if context.positions is None:
        return _check("long_only", False, UNKNOWN, "position known")
    is_allowed = context.limits.allow_short
    passed = request.side is Side.BUY or is_allowed or context.lowers_exposure(request)
    held = text(context.positions.get(request.symbol, ZERO))
    bound = "shorts allowed" if is_allowed else "at most the shares held"
    return _check(
        "long_only", passed, f"{request.side.value} {text(request.quantity)} of {held}", bound
    )


def equity_age(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry needs the broker's equity, finite, above 0 and recent."""
    bound = f"{context.limits.equity_stale_after_seconds} s"
    if context.lowers_exposure(request):
        return _check("equity_age", True, EXIT, bound)
    if not is_known(context.equity) or context.equity_at is None:
        return _check("equity_age", False, UNKNOWN, bound)
    age = (context.now - context.equity_at).total_seconds()
    passed = -CLOCK_TOLERANCE_SECONDS <= age <= context.limits.equity_stale_after_seconds
    return _check("equity_age", passed, f"{age:.0f} s", bound)


def daily_loss(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Entries stop where reducing starts."""
    bound = context.limits.reduce_at_daily_loss_pct
    return _loss("daily_loss", context.daily_loss_pct, bound, request, context)


def drawdown(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Entries stop at the drawdown that engages the latch."""
    bound = context.limits.max_drawdown_pct
    return _loss("drawdown", context.drawdown_pct, bound, request, context)


def duplicate_intent(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An id is used once, and a leg of a symbol has one order at a time."""
    twins = sorted(
        reserved.client_order_id
        for reserved in context.reservations
        if (reserved.symbol, reserved.leg) == (request.symbol, request.leg)
    )
    is_known_id = request.client_order_id in context.known_ids
    figure = "id used" if is_known_id else f"{twins[0]} works" if twins else "new"
    return _check("duplicate_intent", not is_known_id and not twins, figure, "new")


def self_cross(request: OrderRequest, context: GateContext) -> LimitCheck:
    """An entry may not meet an order of our own on the other side."""
    opposite = sorted(
        reserved.client_order_id
        for reserved in context.reservations
        if reserved.symbol == request.symbol and reserved.side is request.side.opposite
    )
    passed = not opposite or context.lowers_exposure(request)
    return _check("self_cross", passed, opposite[0] if opposite else "none", "none")


def earnings(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Nothing is opened into an earnings report, unless that is allowed."""
    told = context.reporting.get(request.symbol)
    is_exit = context.lowers_exposure(request)
    is_allowed = context.limits.allow_earnings_entries is True
    passed = told is None or is_exit or is_allowed
    detail = EXIT if is_exit else "allowed by allow_earnings_entries" if is_allowed else ""
    return _check("earnings", passed, told or "no report near", "no report near", detail)


def open_to_entries(request: OrderRequest, context: GateContext) -> LimitCheck:
    """Nothing is opened in a symbol that is halted, crossed, about to end, or was stopped out."""
    told = context.closed_to_entries.get(request.symbol)
    is_exit = context.lowers_exposure(request)
    passed = told is None or is_exit
    return _check("open_to_entries", passed, told or "open", "open", EXIT if is_exit else "")


LIMITS: tuple[Limit, ...] = (
    trading_state,
    latch,
    symbol_lock,
    asset_tradable,
    session_window,
    confidence,
    forecast_source,
    data_age,
    price_known,
    price_age,
    price_collar,
    order_form,
    order_notional,
    orders_per_day,
    notional_per_day,
    participation,
    position_pct,
    gross_pct,
    net_pct,
    buying_power,
    long_only,
    equity_age,
    daily_loss,
    drawdown,
    duplicate_intent,
    self_cross,
    earnings,
    open_to_entries,
)


def _share(
    name: str,
    value: Decimal | None,
    bound_pct: Decimal,
    request: OrderRequest,
    context: GateContext,
) -> LimitCheck:
    equity, bound = context.equity, f"{text(bound_pct)} %"
    is_exit = context.lowers_exposure(request)
    if value is None or equity is None or not is_known(equity):
        return _check(name, is_exit, UNKNOWN, bound, EXIT if is_exit else "")
    passed = is_exit or value * HUNDRED <= bound_pct * equity
    return _check(name, passed, _pct(value * HUNDRED / equity), bound, EXIT if is_exit else "")


def _loss(
    name: str, value: Decimal | None, bound: Decimal, request: OrderRequest, context: GateContext
) -> LimitCheck:
    is_exit = context.lowers_exposure(request)
    is_inside = value is not None and value.is_finite() and value < bound
    figure = UNKNOWN if value is None else _pct(value)
    return _check(
        name, is_exit or is_inside, figure, f"below {text(bound)} %", EXIT if is_exit else ""
    )


def _check(name: str, passed: bool, figure: str, bound: str, detail: str = "") -> LimitCheck:
    return LimitCheck(limit=name, passed=passed, figure=figure, bound=bound, detail=detail)


def _pct(value: Decimal) -> str:
    return f"{value:.4f} %"


def _usd(value: Decimal | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} USD"
