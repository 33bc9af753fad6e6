"""What the gate says to the exits of holdings that reached their stop."""

import dataclasses
from collections.abc import Mapping, Sequence

from daemon.session.monitor import Judged
from daemon.session.standing import standing_of
from domain.decisions import GateResult
from domain.ids import Symbol
from domain.market import MarketView, Session
from execution.context import gate_context, next_revisions, reservations
from execution.desk import Desk
from risk.book import Book
from risk.context import GateContext, OrderWindow
from risk.gate import check_batch
from risk.settings import RiskLimits
from risk.stops import stop_orders
from state.rows import OrderRecord


class StopGate:
    """Asks for one exit of each holding, all of them in one batch."""

    def __init__(self, desk: Desk, limits: RiskLimits) -> None:
        self._desk = desk
        self._limits = limits

    def ask(
        self,
        reached: Mapping[Symbol, str],
        view: MarketView,
        judged: Judged,
        *,
        without: Sequence[OrderRecord] = (),
    ) -> tuple[GateResult, ...]:
        """Return the exit of each holding that has none at work, with the gate's answer.

        Args:
            reached: why each holding is closed.
            view: the holdings, their prices and what may be traded.
            judged: the account.
            without: orders at work to be thought away, as if they had been canceled.
        """
        journal = self._desk.journal
        gone = {record.client_order_id for record in without}
        left = reservations(r for r in journal.working() if r.client_order_id not in gone)
        revisions = next_revisions(journal.of_session(view.session.date))
        for record in without:
            revisions[record.symbol, record.request.leg] = record.request.revision + 1
        book = Book(view=view, limits=self._limits, reservations=left, revisions=revisions)
        context = dataclasses.replace(self._context(view, judged), reservations=left)
        results, _ = check_batch(stop_orders(book, reached), context)
        return results

    def _context(self, view: MarketView, judged: Judged) -> GateContext:
        return gate_context(
            standing_of(self._desk, judged, view.session, _window(view.session)),
            view=view,
            combined=(),
            limits=self._limits,
            expected_data_date=view.session.date,
            journal=self._desk.journal,
            ledger=self._desk.ledger,
        )


def _window(session: Session) -> OrderWindow:
    return OrderWindow(opens_at=session.open, entries_until=session.open, exits_until=session.close)
