"""What the gate knows when it is asked.  What it does not know denies."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce

from domain.account import Asset
from domain.forecasts import ForecastSource
from domain.ids import ClientOrderId, Symbol
from domain.money import ZERO
from domain.orders import OrderRequest
from domain.trading_state import TradingState
from risk import reservations as worst
from risk.reservations import Reach, Reservation
from risk.settings import RiskLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A price and the moment it was true; ``data_date`` is the session it belongs to."""

    price: Decimal
    at: dt.datetime
    data_date: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderWindow:
    """When orders of this session may leave; UTC."""

    opens_at: dt.datetime
    entries_until: dt.datetime
    exits_until: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GateContext:
    """Everything the limits read, frozen for one question.

    ``positions`` is signed shares, None when unknown; ``reservations`` are all orders that
    may still fill; ``is_latch_engaged`` None means the latch could not be read; ``exited`` are
    the symbols of which an exit left in this session.
    """

    now: dt.datetime
    session_date: dt.date
    limits: RiskLimits
    trading_state: TradingState
    is_latch_engaged: bool | None
    window: OrderWindow | None
    equity: Decimal | None
    equity_at: dt.datetime | None
    buying_power: Decimal | None
    daily_loss_pct: Decimal | None
    drawdown_pct: Decimal | None
    positions: Mapping[Symbol, Decimal] | None
    marks: Mapping[Symbol, Mark]
    assets: Mapping[Symbol, Asset]
    expected_data_date: dt.date | None
    trading_state_reason: str = ""
    reservations: tuple[Reservation, ...] = ()
    locks: Mapping[Symbol, str] = field(default_factory=dict)
    confidences: Mapping[Symbol, float] = field(default_factory=dict)
    forecast_sources: Mapping[Symbol, ForecastSource] = field(default_factory=dict)
    average_volumes: Mapping[Symbol, Decimal] = field(default_factory=dict)
    reporting: Mapping[Symbol, str] = field(default_factory=dict)
    closed_to_entries: Mapping[Symbol, str] = field(default_factory=dict)
    known_ids: frozenset[ClientOrderId] = frozenset()
    orders_today: int = 0
    exited: frozenset[Symbol] = frozenset()
    opened_notional_today: Decimal = ZERO
    # Worst reachable value of each symbol, worked out once for all limits.
    bounds: Mapping[Symbol, Reach] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Bound what is held and ordered; what cannot be computed is unknown."""
        object.__setattr__(self, "bounds", self._bounds())

    def lowers_exposure(self, request: OrderRequest) -> bool:
        """Tell whether the order is an exit in every outcome; unknown positions say no."""
        if self.positions is None:
            return False
        quantity = self.positions.get(request.symbol, ZERO)
        return worst.lowers_exposure(request, quantity, self.reservations)

    def orders_kept(self, request: OrderRequest) -> int:
        """Count the orders of the day that are kept from this one, for exits of holdings.

        An entry leaves one for each holding, an exit that is sent anew one for each other
        holding that had none yet.
        """
        held = {symbol for symbol, quantity in (self.positions or {}).items() if quantity != 0}
        if not self.lowers_exposure(request):
            return len(held)
        return len(held - self.exited) if request.symbol in self.exited else 0

    def reaches_with(self, request: OrderRequest) -> dict[Symbol, Reach] | None:
        """Bound every symbol as if the order were working too; None when unknown."""
        mark = self.marks.get(request.symbol)
        if (
            self.bounds is None
            or self.positions is None
            or mark is None
            or not is_known(mark.price)
        ):
            return None
        orders = [order for order in self.reservations if order.symbol == request.symbol]
        orders.append(Reservation.of_request(request))
        held = self.positions.get(request.symbol, ZERO)
        return {**self.bounds, request.symbol: worst.reach(held, mark.price, orders)}

    def _bounds(self) -> dict[Symbol, Reach] | None:
        if self.positions is None:
            return None
        prices = {symbol: mark.price for symbol, mark in self.marks.items() if is_known(mark.price)}
        try:
            return worst.reaches(self.positions, prices, self.reservations)
        except ArithmeticError:
            return None

    def opening_notional(self) -> Decimal | None:
        """USD that the reserved orders may still open; None when one has no price."""
        prices = [self._opening(reserved) for reserved in self.reservations]
        if any(price is None for price in prices):
            return None
        return reduce(lambda total, price: total + (price or ZERO), prices, ZERO)

    def _opening(self, reserved: Reservation) -> Decimal | None:
        held = (self.positions or {}).get(reserved.symbol, ZERO)
        if held * reserved.side.sign < 0:
            return ZERO
        mark = self.marks.get(reserved.symbol)
        price = reserved.price if reserved.price is not None else (mark.price if mark else None)
        return None if price is None else reserved.quantity * price

    def after(self, request: OrderRequest) -> "GateContext":
        """Return the context in which ``request`` has been approved and may fill."""
        is_exit = self.lowers_exposure(request)
        opened = ZERO if is_exit else request.notional
        return dataclasses.replace(
            self,
            reservations=(*self.reservations, Reservation.of_request(request)),
            known_ids=self.known_ids | {request.client_order_id},
            orders_today=self.orders_today + 1,
            exited=self.exited | {request.symbol} if is_exit else self.exited,
            opened_notional_today=self.opened_notional_today + opened,
        )


def is_known(value: Decimal | None) -> bool:
    """Tell whether a figure is there, finite and above 0."""
    return value is not None and value.is_finite() and value > 0
