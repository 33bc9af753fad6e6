"""The last look before the wire, in the same no-await section as the socket write."""

import datetime as dt

from domain.errors import SendRefused
from domain.orders import OrderRequest, OrderState
from domain.trading_state import TradingState
from execution.desk import Desk
from execution.exposure import lowers_exposure, reducible
from risk.sizing import EXIT


class SendGate:
    """Reads latch, trading state, epoch, journal and symbol lock anew for every write."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def check(self, request: OrderRequest, *, cutoff: dt.datetime | None) -> None:
        """Refuse what may not be written now.

        Raises:
            SendRefused: naming the reason.
        """
        if cutoff is not None and self._desk.clock.now() > cutoff:
            raise SendRefused("the cut-off has passed")
        self._check_journal(request)
        state = self._desk.effective_state()
        if state is TradingState.HALTED:
            raise SendRefused("trading is halted")
        lock = self._desk.ledger.locks().get(request.symbol)
        is_free = state is TradingState.ACTIVE and lock is None
        # What was decided as an exit must still be one: a late fill may have sold it already.
        if (is_free and request.leg != EXIT) or self._lowers_exposure(request):
            return
        if lock is not None:
            raise SendRefused(f"{request.symbol} is locked: {lock}")
        if is_free:
            raise SendRefused("less is held than it would close")
        why = self._desk.only_exits()
        raise SendRefused("only exits are allowed" + (f": {why}" if why else ""))

    def _check_journal(self, request: OrderRequest) -> None:
        if not self._desk.store.is_writer():
            raise SendRefused("another process took the state directory over")
        # What goes out must be what was made durable, field for field.
        record = self._desk.journal.get(request.client_order_id)
        if record is None or record.state is not OrderState.SENDING or record.request != request:
            raise SendRefused(f"{request.client_order_id} is not durably marked as sending")

    def _lowers_exposure(self, request: OrderRequest) -> bool:
        held = reducible(
            self._desk.ledger.position(request.symbol).quantity,
            self._desk.disputed.get(request.symbol),
        )
        return lowers_exposure(request, held=held, working=self._desk.journal.working())
