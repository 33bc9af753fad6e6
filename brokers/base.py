"""The broker port: orders go out, the account comes back."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from domain.account import Account, Activity, Asset, MarketClock, Position
from domain.ids import BrokerOrderId, ClientOrderId, Symbol
from domain.market import Session
from domain.orders import BrokerOrder, OrderRequest, TradeUpdate

SendGuard = Callable[[], None]
"""Called in the same no-await section as the socket write; raises to stop it."""


class Broker(Protocol):
    """Reads raise BrokerUnavailable (or AuthRefused); writes raise only BrokerError."""

    async def account(self) -> Account:
        """Read balances and flags."""

    async def clock(self) -> MarketClock:
        """Read the broker's clock."""

    async def calendar(self, start: dt.date, end: dt.date) -> Sequence[Session]:
        """Read the sessions between two dates, both included."""

    async def assets(self, symbols: Iterable[Symbol]) -> Mapping[Symbol, Asset]:
        """Read what is allowed for each symbol; unknown symbols are absent."""

    async def positions(self) -> Sequence[Position]:
        """Read all holdings."""

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Read every order that can still fill, paged to the end."""

    async def orders_since(self, moment: dt.datetime) -> Sequence[BrokerOrder]:
        """Read orders in any state submitted since ``moment``, paged to the end."""

    async def find_order(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Look an order up by our id; None when the broker says there is none."""

    async def get_order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Look an order up by the broker's id; None when the broker says there is none."""

    async def activities(self, since: dt.datetime) -> Sequence[Activity]:
        """Read fills, fees, dividends and transfers since ``moment``, oldest first, complete."""

    async def submit(self, request: OrderRequest, *, guard: SendGuard) -> BrokerOrder:
        """Send one order, once; never retried here.

        Raises:
            OrderRejected: the broker refused; nothing is working.
            DuplicateOrder: an order with this id exists already; look it up.
            RateLimited: refused for now, nothing was taken.
            AuthRefused: the keys were refused.
            NotSent: nothing was written (no connection); the same id may be sent again.
            OutcomeUnknown: no clear answer; the order may be live.
            Whatever ``guard`` raised: nothing was written.
        """

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel; the order is done only when its state says so.

        Raises:
            OrderRejected: it can no longer be canceled (already terminal): read it again.
            RateLimited, AuthRefused, NotSent, OutcomeUnknown: as for ``submit``.
        """

    async def cancel_everything(self) -> None:
        """Ask for a cancel of every open order of the account, whoever placed it.

        Needs no list of them.  An answer says only that it was asked: single orders may have
        failed, and what arrives later is not covered.  Read the open orders to know.

        Raises:
            OrderRejected: the broker takes no such request.
            RateLimited, AuthRefused, NotSent, OutcomeUnknown: as for ``submit``.
        """

    async def set_suspended(self, *, is_suspended: bool) -> bool:
        """Set the broker-side lock on new orders; return what the broker then reads back.

        Raises:
            OrderRejected: the account does not have the lock.
            RateLimited, AuthRefused, NotSent, OutcomeUnknown: as for ``submit``.
        """

    async def is_shorting_forbidden(self) -> bool | None:
        """Read whether the account's setting forbids short sales; None when it has none."""

    async def set_shorting_forbidden(self, *, is_forbidden: bool) -> bool:
        """Forbid or allow short sales; return what the broker then reads back.

        While they are forbidden the broker refuses a sale of more than is held and not
        yet promised to another open sale.

        Raises:
            OrderRejected: the account does not have the setting, or may not change it.
            RateLimited, AuthRefused, NotSent, OutcomeUnknown: as for ``submit``.
        """


class TradeStream(Protocol):
    """The broker's push channel.  It replays nothing: see execution.reconcile."""

    async def run(
        self,
        *,
        on_ready: Callable[[], None],
        on_update: Callable[[TradeUpdate], None],
        on_unreadable: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Stay connected until cancelled; reconnect with back-off.

        ``on_ready`` is called after each subscription is confirmed, before any update;
        ``on_unreadable`` for a frame that could not be parsed; ``on_lost`` with the
        reason after each drop.  The callbacks are synchronous and must not raise.
        """
