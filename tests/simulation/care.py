"""What a person does beside a stopped daemon: count shares, and take them into the books."""

import contextlib

from domain.errors import OpenbellError
from domain.ids import Symbol
from execution.accepting import accept_report
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from state.store import Store
from tests.simulation.daemon_life import Machine
from tests.simulation.port import SimBroker
from tests.simulation.processes import Process, enter

CASH_REASON = "a person compared the cash"


async def run_adopt(machine: Machine, process: Process) -> set[Symbol]:
    """Adopt the broker's holding of each symbol in a break; return those that were.

    And where all agrees after it, accept the report that entries wait for.
    """
    enter(process)
    adopted: set[Symbol] = set()
    store = Store.open(machine.directory, clock=machine.clock)
    try:
        broker = SimBroker(machine.truth, process, machine.on_wire)
        desk = machine.desk(store, broker, (await broker.account()).equity)
        reconciler = Reconciler(desk, OrderPath(desk))
        # As the command does.  Found as seed 600010: counted on books that had not been brought
        # up to date, nothing was adopted, and what was read after it moved the shares.
        report = await reconciler.run("operator", is_deep=True)
        for symbol in sorted({found.symbol for found in report.breaks if found.symbol}):
            try:
                report = await reconciler.adopt(symbol, "a person counted the shares")
            except OpenbellError:
                continue
            adopted.add(symbol)
        # A fee that is still to be told would be booked on top of it.
        if machine.truth.amendments and not machine.truth.has_untold_fee:
            with contextlib.suppress(OpenbellError):
                report = await reconciler.adopt_cash(CASH_REASON)
        accept_report(desk, report, "a person looked at the report")
    finally:
        if not process.is_dead:
            store.close()
    return adopted
