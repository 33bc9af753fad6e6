"""A small market for tests: six sessions around Thanksgiving 2022, one of them a half day."""

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from brokers.exchange.daily_path import DailyPath
from brokers.exchange.engine import Exchange
from brokers.exchange.events import OrderChanged
from brokers.exchange.orders import Order, StopLoss, Ticket
from brokers.exchange.prices import ListedSessions, Quote
from brokers.exchange.settings import ExchangeSettings
from brokers.exchange.words import Kind, OrderClass, Status, Tif
from domain.ids import Symbol
from domain.market import Bar, Session
from domain.orders import Side

NEW_YORK = ZoneInfo("America/New_York")
AAPL, MSFT, PENNY, CLOSES = Symbol("AAPL"), Symbol("MSFT"), Symbol("PENY"), Symbol("XOM")
DAY = dt.date(2022, 11, 22)
HALF_DAY = dt.date(2022, 11, 25)
DATES = tuple(dt.date(2022, 11, day) for day in (21, 22, 23, 25, 28, 29, 30))


def moment(clock: str, date: dt.date = DAY) -> dt.datetime:
    """Return a New York time of day as UTC."""
    local = dt.datetime.combine(date, dt.time.fromisoformat(clock), NEW_YORK)
    return local.astimezone(dt.UTC)


def sessions() -> list[Session]:
    return [
        Session(
            date=date,
            open=moment("09:30", date),
            close=moment("13:00" if date == HALF_DAY else "16:00", date),
            is_half_day=date == HALF_DAY,
        )
        for date in DATES
    ]


def calendar() -> ListedSessions:
    return ListedSessions(sessions())


def _bar(symbol: Symbol, date: dt.date, prices: tuple[float, float, float, float]) -> Bar:
    opened, high, low, close = prices
    return Bar(
        symbol=symbol,
        at=moment("00:00", date),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=7_800_000,
    )


def bars() -> dict[Symbol, list[Bar]]:
    """AAPL opens at 100 each day, falls to 98, rises to 103, closes at 102."""
    return {
        AAPL: [_bar(AAPL, date, (100.0, 103.0, 98.0, 102.0)) for date in DATES],
        MSFT: [_bar(MSFT, date, (250.0, 252.0, 240.0, 241.0)) for date in DATES],
        PENNY: [_bar(PENNY, date, (0.5, 0.55, 0.45, 0.5)) for date in DATES],
        CLOSES: [Bar(symbol=CLOSES, at=moment("00:00", date), close=110.0) for date in DATES],
    }


def feed() -> DailyPath:
    return DailyPath(bars(), sessions())


def quote(symbol: Symbol, at: dt.datetime) -> Quote:
    """Return the prices that the feed knows at a moment."""
    found = feed().quote(symbol, at)
    assert found is not None
    return found


class Market:
    """An exchange with a hand on its clock.  No order is filled in parts unless asked for."""

    def __init__(self, start: str = "08:00", **settings: Any) -> None:
        self.now = moment(start)
        self.feed = feed()
        self.calendar = calendar()
        self.settings = ExchangeSettings(**{"partial_fraction": 0.0, **settings})
        self.exchange = Exchange(
            feed=self.feed, calendar=self.calendar, settings=self.settings, now=self.now
        )
        self.events: list[Any] = []

    def at(self, clock: str, date: dt.date | None = None) -> None:
        """Move time to a New York time of day."""
        today = self.now.astimezone(NEW_YORK).date()
        self.now = moment(clock, date or today)
        self.exchange.advance(self.now)

    def wait(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)
        self.exchange.advance(self.now)

    def order(
        self,
        side: str = "buy",
        quantity: str | None = "10",
        *,
        limit: str | None = None,
        stop: str | None = None,
        tif: str = "day",
        **fields: Any,
    ) -> Order:
        """Send an order and return it as it was taken."""
        return self.exchange.submit(
            ticket(side, quantity, limit=limit, stop=stop, tif=tif, **fields), self.now
        )

    def cancel(self, order: Order) -> Order:
        return self.exchange.cancel(order.id, self.now)

    def hold(self, quantity: str = "10", symbol: Symbol = AAPL) -> None:
        """Own shares, bought at the market."""
        self.order("buy", quantity, symbol=symbol)
        self.wait(1)

    def see(self, order: Order) -> Order:
        """Return the order as it is now."""
        return self.exchange.order(order.id)

    def status(self, order: Order) -> Status:
        return self.see(order).status

    def quote(self, symbol: Symbol = AAPL) -> Quote:
        """Return the prices of now."""
        return quote(symbol, self.now)

    def history(self, order: Order) -> list[str]:
        """Return the stream's events of an order so far."""
        self.events += self.exchange.take_events()
        return [
            event.name
            for event in self.events
            if isinstance(event, OrderChanged) and event.order.id == order.id and event.name
        ]


def ticket(
    side: str = "buy",
    quantity: str | None = "10",
    *,
    limit: str | None = None,
    stop: str | None = None,
    tif: str = "day",
    **fields: Any,
) -> Ticket:
    """Build a ticket from text."""
    kind = {
        (False, False): Kind.MARKET,
        (True, False): Kind.LIMIT,
        (False, True): Kind.STOP,
        (True, True): Kind.STOP_LIMIT,
    }[limit is not None, stop is not None]
    take_profit, stop_loss = fields.pop("take_profit", None), fields.pop("stop_loss", None)
    numbers: dict[str, Any] = {
        name: Decimal(fields.pop(name))
        for name in ("notional", "trail_price", "trail_percent")
        if name in fields
    }
    return Ticket(
        symbol=fields.pop("symbol", AAPL),
        side=Side(side),
        kind=Kind(fields.pop("kind", kind)),
        tif=Tif(tif),
        quantity=None if quantity is None else Decimal(quantity),
        limit_price=None if limit is None else Decimal(limit),
        stop_price=None if stop is None else Decimal(stop),
        order_class=OrderClass(fields.pop("order_class", "")),
        take_profit=None if take_profit is None else Decimal(take_profit),
        stop_loss=None if stop_loss is None else StopLoss(stop_price=Decimal(stop_loss)),
        **numbers,
        **fields,
    )
