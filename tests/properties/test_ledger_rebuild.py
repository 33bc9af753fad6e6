"""The tables can be made again from the log, after any history."""

import datetime as dt
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.account import Activity, ActivityKind
from domain.clock import ManualClock
from domain.errors import StateError
from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from domain.orders import OrderState, Side
from domain.trading_state import TradingState
from state.checks import differing_tables
from state.cost_basis import SHARE_GRID
from state.entries import entries_of
from state.holdings import standing_of
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.projection import DERIVED_TABLES
from state.reversals import replay
from state.risk_state import RiskState
from state.runs import Runs, RunState
from state.store import Store
from tests.support.state_builders import (
    SESSION,
    START,
    a_broker_order,
    a_fill,
    approved,
    denied,
    whole_table,
)

order_ids = st.sampled_from(["ob-1", "ob-2", "ob-3"])
symbols = st.sampled_from([Symbol("AAPL"), Symbol("MSFT")])
shares = st.integers(1, 200).map(Decimal)
cents = st.integers(1, 50_000).map(lambda value: Decimal(value) / 100)


class Books(RuleBasedStateMachine):
    """Anything the daemon may write, in any order, with restarts between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock(START)
        self.opened()

    def opened(self) -> None:
        self.store = Store.open(Path(self.folder.name) / "var", clock=self.clock)
        self.store.rows("PRAGMA synchronous = OFF")
        self.journal, self.ledger = Journal(self.store), Ledger(self.store)
        self.latch = Latch(self.store.directory)
        self.count = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(order_id=order_ids, symbol=symbols, quantity=shares, is_denied=st.booleans())
    def plan(self, order_id: str, symbol: Symbol, quantity: Decimal, is_denied: bool) -> None:
        result = (denied if is_denied else approved)(order_id, symbol=symbol, quantity=quantity)
        self.journal.record_plan([result], "run")

    @rule(order_id=order_ids)
    def send(self, order_id: str) -> None:
        try:
            self.journal.mark_sending(ClientOrderId(order_id))
        except StateError:
            return

    @rule(
        order_id=order_ids,
        mark=st.sampled_from(
            ["unknown", "rejected", "not_sent", "skipped", "abandoned", "expired"]
        ),
    )
    def mark(self, order_id: str, mark: str) -> None:
        getattr(self.journal, f"mark_{mark}")(ClientOrderId(order_id), "because")

    @rule(
        order_id=order_ids,
        filled=shares,
        state=st.sampled_from([OrderState.LIVE, OrderState.CANCELED, OrderState.FILLED]),
        is_external=st.booleans(),
    )
    def report(self, order_id: str, filled: Decimal, state: OrderState, is_external: bool) -> None:
        order = a_broker_order(order_id, filled_quantity=filled, state=state)
        self.journal.apply_order(order)
        if is_external:
            self.journal.adopt_external(order)

    @rule(
        order_id=order_ids,
        symbol=symbols,
        side=st.sampled_from(list(Side)),
        start=st.integers(0, 100),
        quantity=shares,
        price=cents,
        execution=st.integers(1, 6),
        hour=st.integers(-2, 5),
    )
    def fill(
        self,
        order_id: str,
        symbol: Symbol,
        side: Side,
        start: int,
        quantity: Decimal,
        price: Decimal,
        execution: int,
        hour: int,
    ) -> None:
        fill = a_fill(
            f"{order_id}-{execution}",
            str(quantity),
            str(price),
            cumulative=str(start + quantity),
            symbol=symbol,
            side=side,
            client_order_id=ClientOrderId(order_id),
            broker_order_id=BrokerOrderId(f"b-{order_id}"),
            at=START + dt.timedelta(hours=hour),
        )
        self.ledger.apply_fill(fill, origin="stream")

    @rule(order_id=order_ids, execution=st.integers(1, 6))
    def bust(self, order_id: str, execution: int) -> None:
        self.ledger.bust_fill(ExecutionId(f"{order_id}-{execution}"), at=START, reason="bust")

    @rule(order_id=order_ids, execution=st.integers(1, 6), quantity=shares, price=cents)
    def correct(self, order_id: str, execution: int, quantity: Decimal, price: Decimal) -> None:
        corrected = a_fill(
            f"{order_id}-{execution}-corrected",
            str(quantity),
            str(price),
            cumulative=str(10_000 * execution + quantity),
            client_order_id=ClientOrderId(order_id),
            broker_order_id=BrokerOrderId(f"b-{order_id}"),
        )
        self.ledger.correct_fill(
            ExecutionId(f"{order_id}-{execution}"), corrected, reason="correction"
        )

    @rule(
        kind=st.sampled_from([ActivityKind.FEE, ActivityKind.DIVIDEND, ActivityKind.TRANSFER]),
        amount=cents,
        number=st.integers(1, 3),
    )
    def activity(self, kind: ActivityKind, amount: Decimal, number: int) -> None:
        self.ledger.apply_activity(
            Activity(activity_id=f"a-{number}", kind=kind, at=START, net_amount=amount)
        )

    @rule(symbol=symbols, rate=st.integers(2, 4), number=st.integers(1, 3))
    def split(self, symbol: Symbol, rate: int, number: int) -> None:
        self.ledger.apply_activity(
            Activity(
                activity_id=f"s-{number}",
                kind=ActivityKind.SPLIT,
                at=START,
                net_amount=Decimal(0),
                symbol=symbol,
                quantity=self.ledger.position(symbol).quantity * (rate - 1),
            )
        )

    @rule(
        symbol=symbols,
        rate=st.integers(2, 12),
        number=st.integers(4, 6),
        is_told=st.booleans(),
        hour=st.integers(-2, 4),
    )
    def reverse_split(
        self, symbol: Symbol, rate: int, number: int, is_told: bool, hour: int
    ) -> None:
        held = self.ledger.position(symbol).quantity
        whole, rest = divmod(abs(held), rate)
        sign = Decimal(1).copy_sign(held)
        self.ledger.apply_activity(
            Activity(
                activity_id=f"s-{number}",
                kind=ActivityKind.SPLIT,
                at=START + dt.timedelta(hours=hour),
                net_amount=Decimal(0),
                symbol=symbol,
                quantity=sign * whole - held,
                fraction=(sign * rest / rate).quantize(SHARE_GRID) if is_told else None,
            )
        )

    @rule(
        symbol=symbols,
        amount=st.integers(-90, 90).map(Decimal),
        number=st.integers(1, 9),
        day=st.integers(-1, 40),
    )
    def payout(self, symbol: Symbol, amount: Decimal, number: int, day: int) -> None:
        self.ledger.apply_activity(
            Activity(
                activity_id=f"p-{number}",
                kind=ActivityKind.OTHER,
                at=START + dt.timedelta(days=day),
                net_amount=amount,
                symbol=symbol,
            )
        )

    @rule(
        symbol=symbols,
        quantity=st.integers(-100, 100).map(Decimal),
        price=cents,
        hour=st.integers(-2, 4),
    )
    def adopt(self, symbol: Symbol, quantity: Decimal, price: Decimal, hour: int) -> None:
        as_of = START + dt.timedelta(hours=hour)
        self.ledger.adopt_position(symbol, quantity, price, "found", as_of=as_of)
        assert self.ledger.position(symbol).quantity == quantity

    @rule(symbol=symbols, is_locked=st.booleans())
    def lock(self, symbol: Symbol, is_locked: bool) -> None:
        if is_locked:
            self.ledger.lock(symbol, "break")
        else:
            self.ledger.unlock(symbol)

    @rule(equity=cents, day=st.integers(0, 3))
    def equity(self, equity: Decimal, day: int) -> None:
        risk = RiskState(self.store)
        before = risk.high_water_mark() or Decimal(0)
        risk.record_equity(equity, START, session_date=SESSION + dt.timedelta(days=day))
        assert risk.high_water_mark() == max(before, equity)

    @rule(amount=st.integers(-1000, 1000).map(Decimal), number=st.integers(1, 3))
    def cash_flow(self, amount: Decimal, number: int) -> None:
        RiskState(self.store).record_cash_flow(amount, f"f-{number}")

    @rule(state=st.sampled_from(list(TradingState)))
    def trading_state(self, state: TradingState) -> None:
        RiskState(self.store).set_trading_state(state, "because")

    @rule(is_engaged=st.booleans())
    def move_latch(self, is_engaged: bool) -> None:
        if is_engaged:
            self.latch.engage("drill", START)
        else:
            self.latch.release("drill over", START)
        assert self.store.sync_latch(self.latch).is_engaged is is_engaged

    @rule(day=st.integers(0, 3), state=st.sampled_from([RunState.DONE, RunState.SKIPPED]))
    def run(self, day: int, state: RunState) -> None:
        run_id = Runs(self.store).begin(SESSION + dt.timedelta(days=day), "premarket", START)
        if run_id is not None:
            Runs(self.store).finish(run_id, state, "", START)

    @precondition(lambda self: self.count < 3)
    @rule()
    def restart(self) -> None:
        count = self.count
        self.store.close()
        self.opened()
        self.count = count + 1

    @rule()
    def rebuild(self) -> None:
        before = self.tables()
        self.store.rebuild()
        assert self.tables() == before

    def tables(self) -> dict[str, list[tuple[object, ...]]]:
        return {
            table: [tuple(row) for row in self.store.rows(whole_table(table))]
            for table in DERIVED_TABLES
        }

    @invariant()
    def log_gives_the_tables(self) -> None:
        assert differing_tables(self.store._connected()) == []

    @invariant()
    def entries_traded_again_give_the_holdings(self) -> None:
        for symbol in ("AAPL", "MSFT"):
            assert replay(entries_of(self.store, Symbol(symbol))).standing == standing_of(
                self.store, Symbol(symbol)
            )

    @invariant()
    def books_balance(self) -> None:
        rows = self.store.rows("SELECT cash, cost, in_kind, realized_pnl FROM ledger_entries")
        cash = sum(Decimal(row["cash"]) for row in rows)
        assert self.ledger.cash() == cash
        # Only what a split took to nothing waits for its payout without a share.
        held = self.store.rows(
            "SELECT quantity, total_cost FROM positions WHERE symbol NOT IN"
            " (SELECT symbol FROM ledger_entries WHERE kind = 'split' AND symbol IS NOT NULL)"
        )
        for row in held:
            assert Decimal(row["quantity"]) != 0 or Decimal(row["total_cost"]) == 0


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
