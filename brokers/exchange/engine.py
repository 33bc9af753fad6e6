"""The exchange: commands in, events out, time moved by whoever calls."""

import dataclasses
import datetime as dt
from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal

from brokers.exchange import corporate, intake, lifecycle, replacing
from brokers.exchange.book import Book
from brokers.exchange.desk import Desk
from brokers.exchange.events import AccountOpened, ActivityPosted, DayClosed, Event, TimePassed
from brokers.exchange.margin import Balances, balances, held_quantity
from brokers.exchange.orders import Amendment, Order, Ticket
from brokers.exchange.prices import PriceFeed, SessionSource
from brokers.exchange.refusal import forbidden, malformed, not_found, unprocessable
from brokers.exchange.settings import ExchangeSettings
from brokers.exchange.windows import new_york
from brokers.exchange.words import Kind, Status, Tif
from domain.errors import DataError
from domain.ids import Symbol
from domain.market import Session
from domain.money import ZERO
from domain.orders import Side

_SHARE_GRID = Decimal("0.000000001")
_WHOLE = 100


class Exchange:
    """One account at a simulated market.

    Every command takes the time and first lets everything happen that was due by then;
    time never goes back, an earlier ``now`` counts as the last one.
    """

    def __init__(
        self,
        *,
        feed: PriceFeed,
        calendar: SessionSource,
        settings: ExchangeSettings,
        now: dt.datetime,
        history: Iterable[Event] = (),
    ) -> None:
        self._desk = Desk(feed=feed, calendar=calendar, settings=settings)
        for event in history:
            self._desk.book.apply(event)
        if self.book.opened_at is None:
            self._desk.emit(
                AccountOpened(
                    at=now,
                    account_number=settings.account_number,
                    cash=settings.starting_cash,
                )
            )
        self._moment = self.book.last_time or now
        self._next_close = self._find_next_close()

    @property
    def book(self) -> Book:
        """State of the account; read only."""
        return self._desk.book

    @property
    def feed(self) -> PriceFeed:
        """Where prices come from."""
        return self._desk.feed

    @property
    def calendar(self) -> SessionSource:
        """When the market is open."""
        return self._desk.calendar

    @property
    def desk(self) -> Desk:
        """The desk, for hand trades and corporate actions."""
        return self._desk

    @property
    def last_time(self) -> dt.datetime:
        """The time the exchange has reached."""
        return self._moment

    def take_events(self) -> list[Event]:
        """Return the events since the last call, oldest first."""
        fresh, self._desk.fresh = self._desk.fresh, []
        return fresh

    def next_due(self) -> dt.datetime | None:
        """Return the next moment at which anything happens by itself; may be in the past."""
        times = [self._next_close.close] if self._next_close is not None else []
        is_live = False
        for order in self.book.open_orders.values():
            due = lifecycle.due_at(self._desk, order)
            if due is not None:
                times.append(due)
            is_live = is_live or order.is_live
        if is_live:
            change = self.feed.next_change(self._moment)
            if change is not None:
                times.append(change)
        return min(times, default=None)

    def advance(self, now: dt.datetime) -> None:
        """Let everything happen that is due by ``now``."""
        while (due := self.next_due()) is not None and due <= now:
            self._step(max(due, self._moment))
        self._moment = max(now, self._moment)

    def mark_time(self, now: dt.datetime) -> None:
        """Record that ``now`` was reached, so that a restart does not go back."""
        self.advance(now)
        self._desk.emit(TimePassed(at=self._moment))

    def submit(self, ticket: Ticket, now: dt.datetime) -> Order:
        """Take an order or refuse it; it fills later, by ``advance``."""
        self.advance(now)
        return intake.submit(self._desk, ticket, self._moment)

    def cancel(self, order_id: str, now: dt.datetime) -> Order:
        """Ask for a cancel; the order is canceled later, unless it fills first."""
        self.advance(now)
        order = self.order(order_id)
        if order.status is Status.CANCELED:
            return order
        if order.status.is_terminal:
            raise unprocessable(f'order is already in "{order.status}" state')
        if order.cancel_at is not None:
            raise unprocessable("order pending cancel")
        if order.status is Status.PENDING_REPLACE:
            raise unprocessable("order pending replace")
        return self._desk.amend(
            order,
            "pending_cancel",
            self._moment,
            status=Status.PENDING_CANCEL,
            cancel_requested_at=self._moment,
            cancel_at=self._moment + self._desk.settings.cancel_delay,
        )

    def replace(self, order_id: str, amendment: Amendment, now: dt.datetime) -> Order:
        """Ask to replace an order by a new one; the old one may still fill first."""
        self.advance(now)
        return replacing.replace_order(self._desk, self.order(order_id), amendment, self._moment)

    def close_position(
        self,
        symbol: Symbol,
        now: dt.datetime,
        *,
        quantity: Decimal | None = None,
        percentage: Decimal | None = None,
    ) -> Order:
        """Send a market order that closes a position or a part of it."""
        self.advance(now)
        held = self.book.holding(symbol).quantity
        if held == 0:
            raise not_found("position does not exist")
        if quantity is not None and percentage is not None:
            raise malformed("only one of qty or percentage is accepted")
        amount = abs(held)
        if percentage is not None:
            if not 0 < percentage <= _WHOLE:
                raise malformed("percentage must be between 0 and 100")
            listing = self.feed.listing(symbol)
            has_parts = listing is None or listing.is_fractionable
            grid = _SHARE_GRID if has_parts else Decimal(1)
            amount = (amount * percentage / 100).quantize(grid, ROUND_DOWN)
        elif quantity is not None:
            amount = quantity
        ticket = Ticket(
            symbol=symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            kind=Kind.MARKET,
            tif=Tif.DAY,
            quantity=amount,
        )
        return intake.submit(self._desk, ticket, self._moment)

    def configure(self, now: dt.datetime, **changes: bool) -> None:
        """Change the account's configuration."""
        self.advance(now)
        self._desk.emit(dataclasses.replace(self._desk.config, at=self._moment, **changes))

    def post(self, activity: ActivityPosted, now: dt.datetime) -> None:
        """Post a dividend, fee, interest or transfer."""
        self.advance(now)
        if activity.net_amount + self.book.cash < 0 and activity.kind == "CSW":
            raise forbidden("insufficient cash for the withdrawal")
        self._desk.emit(activity)

    def split(self, symbol: Symbol, ratio: Decimal, now: dt.datetime) -> None:
        """Multiply a holding by ``ratio``; open orders of the symbol are canceled."""
        self.advance(now)
        corporate.split(self._desk, symbol, ratio, self._moment)

    def order(self, order_id: str) -> Order:
        """Return an order by its id, or refuse."""
        order = self.book.orders.get(order_id)
        if order is None:
            raise not_found(f"order not found for {order_id}")
        return order

    def balances(self) -> Balances:
        """Value the account now."""
        return balances(self._desk, self._moment)

    def held_for_orders(self, symbol: Symbol) -> Decimal:
        """Return the shares of a position that open closing orders hold."""
        held = self.book.holding(symbol).quantity
        side = Side.SELL if held > 0 else Side.BUY
        return held_quantity(self._desk, symbol, side)[0] if held else ZERO

    def _step(self, at: dt.datetime) -> None:
        before, self._moment = self._moment, at
        session = self.calendar.session_on(new_york(at).date())
        is_trading = session is not None and session.open <= at <= session.close
        by_client_id = sorted(self.book.open_orders.values(), key=lambda o: o.client_order_id)
        changed = is_trading and self._changed_between(before, at)
        for order in by_client_id:
            current = self.book.open_orders.get(order.id)
            if current is None:
                continue
            due = lifecycle.due_at(self._desk, current)
            if due is not None and due <= at:
                lifecycle.run_due(self._desk, current, at)
            elif changed and current.is_live and session is not None:
                lifecycle.consider(self._desk, current, at, is_open=at == session.open)
        if self._next_close is not None and self._next_close.close <= at:
            self._close_day(self._next_close, at)

    def _changed_between(self, before: dt.datetime, at: dt.datetime) -> bool:
        change = self.feed.next_change(before)
        return change is not None and change <= at

    def _close_day(self, session: Session, at: dt.datetime) -> None:
        figures = balances(self._desk, session.close)
        self._desk.emit(
            DayClosed(
                at=at,
                date=session.date,
                equity=figures.equity,
                maintenance_margin=figures.maintenance_margin,
            )
        )
        self._next_close = self._find_next_close()

    def _find_next_close(self) -> Session | None:
        days = self.book.days
        start = self.book.opened_at
        if start is None:
            return None
        try:
            if not days:
                return self.calendar.next_session(start)
            closed = self.calendar.session_on(days[-1].date)
            return self.calendar.next_session(closed.close if closed is not None else start)
        except (LookupError, DataError):
            # The recording ends here: nothing closes any more.
            return None
