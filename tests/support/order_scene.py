"""A desk with real stores and a fake broker, and what tests ask of it again and again."""

import datetime as dt
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.clock import LoopClock
from domain.decisions import GateResult, LimitCheck
from domain.ids import ClientOrderId, Symbol, client_order_id
from domain.orders import (
    BrokerOrder,
    OrderRequest,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    TradeUpdate,
)
from domain.trading_state import TradingState
from execution.desk import Desk, OrderSettings
from execution.orders import OrderPath, SendReport
from execution.reconcile import Reconciler
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.store import Store
from tests.support.booked import fills
from tests.support.fake_broker import ACCOUNT_NUMBER, FakeBroker
from tests.support.virtual_time import OPENING, loop_clock

SESSION = OPENING.date()
CUTOFF = OPENING + dt.timedelta(minutes=30)
RUN_ID = "run-1"


class Scene:
    """One account: the broker lives on while the daemon's side dies and restarts."""

    def __init__(self, directory: Path, *, settings: OrderSettings | None = None) -> None:
        self.directory = directory
        self.clock: LoopClock = loop_clock()
        self.broker = FakeBroker(self.clock)
        self.settings = settings or OrderSettings()
        self.state = TradingState.ACTIVE
        self.alerts: list[tuple[str, str]] = []
        self.stream: list[TradeUpdate] = []
        self.start()

    def start(self) -> None:
        """Open the stores and build the order path on them, as a new process does."""
        self.store = Store.open(self.directory, clock=self.clock)
        self.latch = Latch(self.directory)
        self.journal = Journal(self.store)
        self.ledger = Ledger(self.store)
        self.desk = Desk(
            broker=self.broker,
            store=self.store,
            journal=self.journal,
            ledger=self.ledger,
            incidents=Incidents(self.store),
            latch=self.latch,
            clock=self.clock,
            trading_state=lambda: self.state,
            settings=self.settings,
            alert=lambda kind, text, _symbol: self.alerts.append((kind, text)),
        )
        self.path = OrderPath(self.desk)
        self.reconciler = Reconciler(self.desk, self.path)
        self.broker.on_update = self.stream.append

    def restart(self) -> None:
        """Kill the process and start the next one on the same files."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Let go of the files."""
        self.store.close()

    async def send(
        self, *requests: OrderRequest, cutoff: dt.datetime | None = CUTOFF
    ) -> SendReport:
        """Send approved requests."""
        return await self.path.send([approved(r) for r in requests], RUN_ID, cutoff=cutoff)

    async def reconcile_calmly(self) -> None:
        """Compare until nothing is in doubt, as the daemon does every 30 seconds."""
        await self.reconciler.run("periodic")
        await self.clock.sleep(30)

    def state_of(self, request: OrderRequest) -> OrderState:
        """Return what the journal says about an order."""
        record = self.journal.get(request.client_order_id)
        assert record is not None
        return record.state

    def alert_kinds(self) -> Counter[str]:
        """Count the alerts by kind."""
        return Counter(kind for kind, _ in self.alerts)

    def merge_stream(self) -> None:
        """Deliver the events that the stream carried so far."""
        waiting, self.stream[:] = list(self.stream), []
        for update in waiting:
            self.path.updates.offer(update)
        self.path.updates.drain()

    def assert_books_equal(self) -> None:
        """Every execution once, positions share for share, cash to the cent."""
        booked = Counter(
            (f.broker_order_id, f.cumulative_quantity, f.quantity, f.price)
            for f in fills(self.ledger)
        )
        executed = Counter(
            (f.broker_order_id, f.cumulative_quantity, f.quantity, f.price)
            for f in self.broker.executions
        )
        assert booked == executed
        ours = {s: p.quantity for s, p in self.ledger.positions().items()}
        theirs = {s: q for s, q in self.broker.quantities.items() if q != 0}
        assert ours == theirs


def request(
    symbol: str = "AAPL",
    side: Side = Side.BUY,
    quantity: str | int = 10,
    *,
    limit: str | None = "100",
    leg: str = "entry",
    revision: int = 0,
) -> OrderRequest:
    """Return an order intent of the scene's session."""
    return OrderRequest(
        client_order_id=client_order_id(
            account=ACCOUNT_NUMBER,
            strategy="book",
            session_date=SESSION,
            symbol=Symbol(symbol),
            leg=leg,
            revision=revision,
        ),
        strategy="book",
        session_date=SESSION,
        symbol=Symbol(symbol),
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        limit_price=Decimal(limit) if limit else None,
        time_in_force=TimeInForce.DAY,
        leg=leg,
        revision=revision,
        decision_price=Decimal(limit or "100"),
        reason="test",
    )


async def live_order(scene: Scene, quantity: str | int = 10) -> tuple[OrderRequest, BrokerOrder]:
    """Send an order that the broker takes; return both sides of it."""
    wanted = request(quantity=quantity)
    await scene.send(wanted)
    return wanted, scene.broker.order(wanted.client_order_id)


async def hold(scene: Scene, symbol: str, quantity: int) -> None:
    """Buy a position, booked on both sides."""
    wanted = request(symbol, quantity=quantity, leg="opening")
    await scene.send(wanted)
    scene.broker.fill(scene.broker.order(wanted.client_order_id), quantity)
    scene.merge_stream()
    await scene.reconciler.run("test")
    assert scene.ledger.locks() == {}


def approved(wanted: OrderRequest) -> GateResult:
    """Return the gate's yes."""
    return GateResult(request=wanted, checks=(_check(passed=True),))


def denied(wanted: OrderRequest) -> GateResult:
    """Return the gate's no."""
    return GateResult(request=wanted, checks=(_check(passed=False),))


def _check(*, passed: bool) -> LimitCheck:
    return LimitCheck(limit="max_order_notional", passed=passed, figure="1000", bound="5000")


def posted(scene: Scene) -> list[ClientOrderId]:
    """Return the ids that went over the wire, in order."""
    return [order_id for order_id, _ in scene.broker.posts]


def failing(error: Exception) -> Any:
    """Return a stand-in for a method that only raises."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    return fail
