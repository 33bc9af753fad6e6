"""Protective stops, kept by us: at each look, close what lost too much since it was bought."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import structlog

from daemon.monitor import Judged
from daemon.standing import standing_of
from domain.account import Account, Asset, Position
from domain.decisions import GateResult
from domain.errors import AuthRefused, BrokerUnavailable
from domain.ids import Symbol
from domain.market import MarketView, Session
from domain.money import ZERO
from domain.orders import OrderRequest
from execution.context import gate_context, next_revisions, reservations
from execution.desk import Desk
from execution.exposure import reducible
from execution.orders import OrderPath
from risk.book import Book
from risk.context import OrderWindow
from risk.gate import check_batch
from risk.settings import RiskLimits
from risk.sizing import EXIT
from risk.stops import stop_orders, stops_reached
from state.ledger import Ledger

NO_STOP = Decimal(100)
# An exit that found no buyer within it is canceled and priced anew.
_PATIENCE = dt.timedelta(seconds=60)


class Stops:
    """Looks at the holdings between the open and the close."""

    def __init__(self, desk: Desk, path: OrderPath, limits: RiskLimits) -> None:
        self._desk = desk
        self._path = path
        self._limits = limits
        self._log = structlog.get_logger("stops")
        self._told: set[tuple[dt.date, Symbol]] = set()

    async def look(self, session: Session, judged: Judged) -> None:
        """Sell what reached its stop; without an account or prices nothing is sold."""
        now = self._desk.clock.now()
        if self._limits.stop_loss_pct >= NO_STOP or judged.account is None:
            return
        if not session.open <= now <= session.close:
            return
        try:
            held = self._agreed(await self._desk.broker.positions())
            reached = stops_reached(
                self._book(_view(session, judged.account, held, now)), _costs(self._desk.ledger)
            )
            assets = await self._desk.broker.assets(sorted(reached)) if reached else {}
        except (BrokerUnavailable, AuthRefused) as exc:
            self._log.warning("stops.unread", reason=str(exc))
            return
        if reached:
            await self._clear_the_way(reached, session)
            view = _view(session, judged.account, held, self._desk.clock.now(), assets)
            await self._send(stop_orders(self._book(view), reached), view, judged)

    def _agreed(self, theirs: Sequence[Position]) -> dict[Symbol, Position]:
        ours = self._desk.ledger.positions()
        found: dict[Symbol, Position] = {}
        for position in theirs:
            own = ours.get(position.symbol)
            quantity = reducible(own.quantity, position.quantity) if own is not None else ZERO
            if quantity != 0:
                found[position.symbol] = dataclasses.replace(position, quantity=quantity)
        return found

    def _book(self, view: MarketView) -> Book:
        journal = self._desk.journal
        return Book(
            view=view,
            limits=self._limits,
            reservations=reservations(journal.working()),
            revisions=next_revisions(journal.of_session(view.session.date)),
        )

    async def _clear_the_way(self, reached: Mapping[Symbol, str], session: Session) -> None:
        """A sale may meet neither our own purchase nor an exit that found no buyer in time."""
        late = self._desk.clock.now() - _PATIENCE
        in_the_way = [
            record.client_order_id
            for record in self._desk.journal.working()
            if record.symbol in reached
            and not record.is_external
            and (record.request.leg != EXIT or max(record.created_at, session.open) < late)
        ]
        await self._path.cancel_many(in_the_way, "the symbol reached its stop")

    async def _send(self, orders: Sequence[OrderRequest], view: MarketView, judged: Judged) -> None:
        session = view.session
        window = OrderWindow(
            opens_at=session.open, entries_until=session.open, exits_until=session.close
        )
        context = gate_context(
            standing_of(self._desk, judged, session, window),
            view=view,
            combined=(),
            limits=self._limits,
            expected_data_date=session.date,
            journal=self._desk.journal,
            ledger=self._desk.ledger,
        )
        results, _ = check_batch(orders, context)
        approved = [result for result in results if result.is_approved]
        self._tell(results, session)
        if approved:
            await self._path.send(approved, f"{session.date}-watch", cutoff=session.close)

    def _tell(self, results: Sequence[GateResult], session: Session) -> None:
        """Once a session and symbol: a stop that may not be sent is no news 30 seconds later."""
        for result in results:
            symbol, key = result.request.symbol, (session.date, result.request.symbol)
            if key in self._told:
                continue
            self._told.add(key)
            denied = "" if result.is_approved else f"; denied by {', '.join(result.reasons)}"
            self._desk.note("stop.reached", f"{symbol}: {result.request.reason}{denied}", symbol)


def _view(
    session: Session,
    account: Account,
    held: Mapping[Symbol, Position],
    now: dt.datetime,
    assets: Mapping[Symbol, Asset] = MappingProxyType({}),
) -> MarketView:
    """What a stop may know: what both books hold, and the broker's prices."""
    return MarketView(
        as_of=now,
        session=session,
        account=account,
        history={},
        forecasts={},
        sentiment={},
        positions=held,
        assets=assets,
    )


def _costs(ledger: Ledger) -> Mapping[Symbol, Decimal]:
    return {symbol: held.avg_price for symbol, held in ledger.positions().items()}
