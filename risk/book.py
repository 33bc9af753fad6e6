"""The book as sizing sees it: view, limits, orders at work, and a few readings of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from domain.errors import SizingError
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.market import MarketView
from domain.money import ZERO, round_price
from domain.orders import Side
from risk import reservations as worst
from risk.context import is_known
from risk.reservations import Reservation
from risk.settings import RiskLimits

HUNDRED = Decimal(100)
VOLUME_SESSIONS = 20
MIN_PRICE = Decimal("0.01")  # below it a limit price may round to nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """View, limits and orders.

    ``reservations`` are all orders that may still fill; ``revisions`` is the next revision
    number by symbol and leg, 0 where absent; ``healthy_source`` is the engine whose
    forecasts are taken at full size.
    """

    view: MarketView
    limits: RiskLimits
    reservations: tuple[Reservation, ...] = ()
    revisions: Mapping[tuple[Symbol, str], int] = field(default_factory=dict)
    healthy_source: ForecastSource = ForecastSource.REMOTE
    opened_notional_today: Decimal = ZERO

    def held(self, symbol: Symbol) -> Decimal:
        """Signed shares."""
        position = self.view.positions.get(symbol)
        return position.quantity if position is not None else ZERO

    def price(self, symbol: Symbol) -> Decimal | None:
        """Decision price: the last close, else the broker's price of the position."""
        position = self.view.positions.get(symbol)
        broker = position.market_price if position is not None else None
        prices = (self.view.last_close(symbol), broker)
        return next((p for p in prices if p is not None and is_known(p) and p >= MIN_PRICE), None)

    def bounds(self) -> dict[Symbol, worst.Reach] | None:
        """Worst reachable values of all that is held or ordered; None when a price is missing."""
        held = {symbol: position.quantity for symbol, position in self.view.positions.items()}
        symbols = set(held) | {reserved.symbol for reserved in self.reservations}
        prices = {s: price for s in symbols if (price := self.price(s)) is not None}
        return worst.reaches(held, prices, self.reservations)

    def average_volume(self, symbol: Symbol) -> Decimal | None:
        """Mean shares a session over the last sessions; None when any volume is missing."""
        bars = self.view.history.get(symbol, ())[-VOLUME_SESSIONS:]
        volumes = [bar.volume for bar in bars if bar.volume is not None]
        if not volumes or len(volumes) != len(bars):
            return None
        return to_decimal(math.fsum(volumes) / len(volumes), f"{symbol}: volume")

    def source_factor(self, symbol: Symbol) -> float:
        """1 for the healthy source, the degraded fraction for another, 0 for none."""
        forecast = self.view.forecasts.get(symbol)
        if forecast is None or forecast.source is ForecastSource.NONE:
            return 0.0
        if forecast.source in (self.healthy_source, ForecastSource.REMOTE):
            return 1.0
        return self.limits.degraded_source_fraction


def to_decimal(value: float, name: str) -> Decimal:
    """Cross from float to Decimal; the shortest exact text of the float, or a refusal."""
    if not math.isfinite(value):
        raise SizingError(f"{name} = {value} is not a finite number")
    return Decimal(repr(value))


def limit_price(price: Decimal, side: Side, collar_pct: Decimal) -> Decimal:
    """Worst price inside the collar and on the tick grid."""
    bound = price * (HUNDRED + side.sign * collar_pct) / HUNDRED
    return round_price(bound, is_buy=side is Side.BUY)
