"""What a person does beside a stopped daemon: count shares, and take them into the books."""

from domain.errors import OpenbellError
from domain.ids import Symbol
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from state.store import Store
from tests.simulation.daemon_life import Machine
from tests.simulation.port import SimBroker
from tests.simulation.processes import Process, enter


async def run_adopt(machine: Machine, process: Process) -> list[Symbol]:
    """Adopt the broker's holding of every locked symbol; return those that agree now."""
    enter(process)
    store = Store.open(machine.directory, clock=machine.clock)
    try:
        desk = machine.desk(store, SimBroker(machine.truth, process, machine.on_wire))
        reconciler = Reconciler(desk, OrderPath(desk))
        before = set(desk.ledger.locks())
        for symbol in sorted(before):
            try:
                await reconciler.adopt(symbol, "a person counted the shares")
            except OpenbellError:
                continue
        return sorted(before - set(desk.ledger.locks()))
    finally:
        if not process.is_dead:
            store.close()
