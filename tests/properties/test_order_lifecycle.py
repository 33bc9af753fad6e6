"""One order, whatever the wire, the broker's memory and the power do to it.

The model is the broker: a history of reports that only grows.  Any of them may be told at
any time, again or late; ours may only ever follow the furthest one that was told.
"""

import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.clock import ManualClock
from domain.errors import StateError
from domain.ids import ClientOrderId
from domain.orders import BrokerOrder, OrderState
from state.journal import ApplyOutcome, Journal
from state.rows import OrderRecord
from state.store import Store
from tests.support.state_builders import START, a_broker_order, approved

ORDER = ClientOrderId("ob-1")
SHARES = Decimal(100)
ENDS = (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


class Lifecycle(RuleBasedStateMachine):
    """An approved order until it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.open()
        self.journal.record_plan([approved(ORDER)], "run")
        self.history: list[BrokerOrder] = []
        self.told = -1
        self.was_sent = self.is_closed = False
        self.seen = self.journal.get(ORDER)

    def open(self) -> None:
        self.store = Store.open(Path(self.folder.name) / "var", clock=ManualClock(START))
        self.store.rows("PRAGMA synchronous = OFF")
        self.journal = Journal(self.store)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @property
    def record(self) -> OrderRecord:
        record = self.journal.get(ORDER)
        assert record is not None
        return record

    # Our side

    @rule()
    def send(self) -> None:
        may = self.record.state in {OrderState.APPROVED, OrderState.SENDING, OrderState.UNKNOWN}
        try:
            self.journal.mark_sending(ORDER)
        except StateError:
            assert not may
            return
        assert may
        self.was_sent = True

    @rule()
    def hear_nothing(self) -> None:
        self.journal.mark_unknown(ORDER, "no answer")

    @precondition(lambda self: not self.history)
    @rule()
    def prove_that_nothing_left(self) -> None:
        if self.journal.mark_not_sent(ORDER, "no connection"):
            self.was_sent = False

    @precondition(lambda self: not self.history)
    @rule()
    def be_refused(self) -> None:
        if self.journal.mark_rejected(ORDER, "buying power"):
            self.is_closed = True

    @rule()
    def give_up(self) -> None:
        self.journal.mark_abandoned(ORDER, "absent on every read")

    @rule()
    def ask_to_cancel(self) -> None:
        self.journal.mark_canceling(ORDER)

    @rule()
    def skip(self) -> None:
        if self.journal.mark_skipped(ORDER, "past the cut-off"):
            self.is_closed = True

    @rule()
    def plan_again(self) -> None:
        before = self.record
        ids = self.journal.record_plan([approved(ORDER)], "run again")
        if before.state in {OrderState.SKIPPED, OrderState.DENIED, OrderState.APPROVED} and ids:
            self.is_closed = False
        else:
            assert self.record.state is before.state

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()

    # The broker's side

    @precondition(lambda self: self.was_sent and not self.history)
    @rule()
    def take(self) -> None:
        self.history.append(a_broker_order(ORDER))

    @precondition(lambda self: self.history and not self.history[-1].state.is_terminal)
    @rule(more=st.integers(1, 60))
    def fill(self, more: int) -> None:
        filled = min(self.history[-1].filled_quantity + more, SHARES)
        state = OrderState.FILLED if filled == SHARES else OrderState.LIVE
        self._report(state, filled)

    @precondition(lambda self: self.history and not self.history[-1].state.is_terminal)
    @rule(state=st.sampled_from(ENDS))
    def end(self, state: OrderState) -> None:
        filled = self.history[-1].filled_quantity
        if state is OrderState.REJECTED and filled:
            state = OrderState.CANCELED
        self._report(state, filled)

    def _report(self, state: OrderState, filled: Decimal) -> None:
        average = Decimal("143.20") if filled else None
        self.history.append(
            a_broker_order(
                ORDER,
                state=state,
                raw_status=state.value,
                filled_quantity=filled,
                filled_avg_price=average,
            )
        )

    @precondition(lambda self: self.history)
    @rule(which=st.integers(0, 99))
    def tell(self, which: int) -> None:
        number = which % len(self.history)
        assert self.journal.apply_order(self.history[number]) is not ApplyOutcome.NOT_OURS
        self.told = max(self.told, number)
        self.is_closed = False

    # What must hold

    @invariant()
    def filled_shares_are_those_of_the_furthest_report(self) -> None:
        expected = self.history[self.told].filled_quantity if self.told >= 0 else Decimal(0)
        assert self.record.filled_quantity == expected

    @invariant()
    def an_end_that_was_told_stays(self) -> None:
        if self.told >= 0 and self.history[self.told].state.is_terminal:
            assert self.record.state is self.history[self.told].state

    @invariant()
    def what_may_still_fill_is_counted(self) -> None:
        """Its reservation is kept until the broker or we ourselves have ended it."""
        is_over = self.told >= 0 and self.history[self.told].state.is_terminal
        if self.was_sent and not is_over and not self.is_closed:
            assert [one.client_order_id for one in self.journal.working()] == [ORDER]

    @invariant()
    def nothing_falls(self) -> None:
        before, now = self.seen, self.record
        assert before is not None
        assert now.filled_quantity >= before.filled_quantity
        if before.broker_order_id is not None:
            assert now.broker_order_id == before.broker_order_id
        self.seen = now


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
