"""The desk: the book, the prices and the hours, and the one place that writes events."""

import dataclasses
import datetime as dt
import hashlib
from decimal import Decimal
from typing import Any

from brokers.exchange.book import Book
from brokers.exchange.events import AccountConfigured, Event, OrderChanged
from brokers.exchange.orders import Execution, Order, derive_id
from brokers.exchange.prices import PriceFeed, Quote, SessionSource
from brokers.exchange.settings import ExchangeSettings
from brokers.exchange.windows import session_at
from domain.ids import Symbol
from domain.market import Session


class Desk:
    """What every part of the exchange works on."""

    def __init__(
        self, *, feed: PriceFeed, calendar: SessionSource, settings: ExchangeSettings
    ) -> None:
        self.feed = feed
        self.calendar = calendar
        self.settings = settings
        self.book = Book()
        self.fresh: list[Event] = []

    def emit(self, event: Event) -> None:
        """Apply an event and keep it for whoever stores or publishes it."""
        self.book.apply(event)
        self.fresh.append(event)

    def amend(
        self,
        order: Order,
        name: str,
        at: dt.datetime,
        *,
        execution: Execution | None = None,
        **changes: Any,
    ) -> Order:
        """Change an order; an empty name keeps the change off the stream."""
        stamp: dict[str, Any] = {"updated_at": at} if name else {}
        changed = dataclasses.replace(order, **stamp, **changes)
        self.emit(OrderChanged(at=at, name=name, order=changed, execution=execution))
        return changed

    def quote(self, symbol: Symbol, at: dt.datetime) -> Quote | None:
        """Return the prices of a symbol."""
        return self.feed.quote(symbol, at)

    def last_price(self, symbol: Symbol, at: dt.datetime) -> Decimal | None:
        """Return the last price of a symbol, or None."""
        quote = self.feed.quote(symbol, at)
        return quote.last if quote is not None else None

    def open_session(self, at: dt.datetime) -> Session | None:
        """Return the session that is open, or None."""
        return session_at(self.calendar, at)

    @property
    def config(self) -> AccountConfigured:
        """Configuration of the account."""
        return self.book.config or AccountConfigured(at=dt.datetime.min.replace(tzinfo=dt.UTC))

    def derive_id(self, *parts: str) -> str:
        """Derive an id that is the same in every run of the same account."""
        return derive_id(self.settings.account_number, str(self.settings.seed), *parts)

    def draw(self, *parts: str) -> float:
        """Return a number in [0, 1) that depends on the seed and ``parts`` only."""
        seed = "\x1f".join((str(self.settings.seed), *parts))
        return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7]) / 2**56
