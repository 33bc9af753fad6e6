"""What a person does: kill, pause, resume, adopt, and trade by hand."""

import asyncio
import contextlib
from decimal import Decimal

from domain.errors import OpenbellError, StateError, StorageError
from domain.ids import Symbol
from domain.orders import Side
from state.pause import Pause
from tests.simulation.broker_orders import Refused
from tests.simulation.care import CASH_REASON, run_adopt
from tests.simulation.checkers import amendments, balance, books, latch
from tests.simulation.checkers.evidence import reading
from tests.simulation.daemon_life import run_kill, run_resume
from tests.simulation.judge import Judge
from tests.simulation.lives import Lives
from tests.simulation.market import SYMBOLS
from tests.simulation.processes import Crash, Process
from tests.simulation.world import World

_MOST_KILLS = 4
# The chance that a person leaves it at a kill that broke off.
_GIVES_UP = 0.3


class Person:
    """The operator, at the keyboard and on the broker's own pages."""

    def __init__(self, world: World, lives: Lives, judge: Judge) -> None:
        self._world = world
        self._lives = lives
        self._judge = judge
        self._faults = world.faults
        self._truth = world.truth
        self._kills = 0

    # During the day

    async def pause(self) -> None:
        """Let no entry leave for a while."""
        pause = Pause(self._world.directory)
        with contextlib.suppress(StateError):
            pause.set("looking at something")
            if self._faults.dice("operator.pause:how").random() < 0.3:
                # Written by hand, and in no language: it pauses all the same.
                pause.path.write_bytes(b"\xff\xfe")
            await asyncio.sleep(self._faults.span("operator.pause", 60, 7200))
            pause.clear()

    async def kill(self, *, flatten: bool) -> None:
        """Run the kill command until it says that it is verified."""
        self._kills += 1
        try:
            await self._kill(flatten=flatten)
        finally:
            self._kills -= 1
        # Nobody opens the broker's lock while another kill of theirs still runs to set it.
        if not self._kills and self._faults.strikes("operator.unsuspend"):
            self._truth.suspend(is_suspended=False)

    async def _kill(self, *, flatten: bool) -> None:
        crash_at = self._world.scenario.kill_crash_at
        for attempt in range(_MOST_KILLS):
            process = Process(
                f"kill {attempt}", self._faults, crash_at=crash_at or self._lives.draw_crash(20)
            )
            crash_at = None
            self._lives.attach(process)
            task = asyncio.create_task(
                run_kill(self._world.machine, process, flatten=flatten, reason="a person said so")
            )
            self._world.outcome.kills += 1
            began = self._world.loop.moment
            try:
                report = await task
            except StorageError as exc:
                if not process.disk_faults:
                    self._world.blame([("X01", f"{process.name} ended by {exc!r}")])
                await asyncio.sleep(120)
                continue
            except Crash:
                if self._faults.dice("gives_up").random() < _GIVES_UP:
                    # Nobody runs it again: the next start of the daemon has to complete it.
                    break
                await asyncio.sleep(5)
                continue
            finally:
                self._world.outcome.kill_steps += process.steps
                self._judge.killed_at = self._world.loop.moment
            self._judge.look_at_latch()
            self._world.blame(latch.kill_tells(report))
            self._world.blame(latch.kill_asks_for_all(self._truth, report, process.name, began))
            if report.verified:
                self._judge.kill_ended(report, process, is_alone=self._kills == 1)
                if report.latched:
                    break
            await asyncio.sleep(120)

    async def trade(self) -> None:
        """Buy some shares, or sell what is held, on the broker's own page."""
        truth, faults = self._truth, self._faults
        symbol = faults.pick("hand", list(SYMBOLS))
        held = truth.positions.get(symbol, Decimal(0))
        is_sale = held > 0 and faults.dice("hand:side").random() < 0.5
        quantity = held if is_sale else Decimal(faults.dice("hand:size").randint(1, 30))
        truth.hand_trades.append((self._world.loop.moment, symbol))
        with contextlib.suppress(Refused):
            truth.accept(
                f"hand-{truth.number()}",
                symbol,
                Side.SELL if is_sale else Side.BUY,
                quantity,
                is_amount=faults.strikes("hand.amount"),
            )

    async def cancel(self) -> None:
        """Cancel an open order, the daemon's or not."""
        fit = [one for one in self._truth.open_orders() if "-flatten-" not in one.client_id]
        if fit:
            with contextlib.suppress(Refused):
                self._truth.ask_cancel(self._faults.pick("hand.canceled", fit).broker_id)

    async def replace(self) -> None:
        """Change an open order, the daemon's or not: it ends, and another takes its place."""
        truth = self._truth
        fit = [
            one for one in truth.open_orders() if one.left > 1 and "-flatten-" not in one.client_id
        ]
        if not fit:
            return
        order = self._faults.pick("hand.replaced", fit)
        fewer = Decimal(self._faults.dice("hand.replaced:size").randint(0, int(order.left) - 1))
        truth.hand_trades.append((self._world.loop.moment, order.symbol))
        with contextlib.suppress(Refused):
            truth.accept(
                f"hand-{truth.number()}",
                order.symbol,
                order.side,
                order.left - fewer,
                kind=order.kind,
                limit=order.limit,
            )
            truth.end(order, "replaced")

    # In the morning

    async def come_in(self) -> None:
        """Look at what the night left: breaks are adopted, a halted account mostly resumed."""
        with contextlib.suppress(StateError):
            Pause(self._world.directory).clear()
        if self._faults.strikes("operator.adopt"):
            await self.adopt()
        if self._faults.strikes("operator.accept"):
            await self.accept()
        if not latch.latch_is_engaged(self._world.directory):
            return
        if not self._world.has_books:
            return
        if self._faults.dice("resume").random() < 0.1:
            return
        async with self._lives.away():
            with self._judge.resuming():
                await self._resume()

    async def _resume(self) -> None:
        process = Process("resume", self._faults)
        self._lives.attach(process)
        is_noted = latch.notes_shorting_ban(self._world.directory)
        try:
            self._world.blame(await asyncio.create_task(run_resume(self._world.machine, process)))
        except (OpenbellError, Crash):
            return
        self._world.outcome.resumes += 1
        self._world.blame(latch.ban_is_lifted(self._truth, is_noted=is_noted))
        with reading(self._world.directory) as db:
            self._world.blame(books.resumed_with(self._truth, db))

    async def adopt(self) -> None:
        """Count what came or went without a word, and take it into the books by name."""
        truth = self._truth
        if self._world.has_books and (truth.unexplained or truth.amendments):
            await self._adopt()

    async def accept(self) -> None:
        """Take the difference of a report that does not balance as it is."""
        if not self._world.has_books:
            return
        with reading(self._world.directory) as db:
            is_waiting = balance.waited_for(db, self._judge.accepted) is not None
        if is_waiting:
            await self._adopt()

    async def _adopt(self) -> None:
        truth = self._truth
        async with self._lives.away():
            process, counted = Process("adopt", self._faults), set[Symbol]()
            before = self._cash_adoptions()
            with contextlib.suppress(OpenbellError, Crash):
                counted = await asyncio.create_task(run_adopt(self._world.machine, process))
            # Also where it was cut off: what the books hold by name now is explained.
            with reading(self._world.directory) as db:
                self._world.blame(books.counted_agree(truth, db, counted))
                truth.unexplained -= books.explained(truth, db)
                self._judge.accepted |= balance.accepted_by_name(db)
            if self._cash_adoptions() > before:
                for one in truth.amendments:
                    one.is_paid = True

    def _cash_adoptions(self) -> int:
        with reading(self._world.directory) as db:
            return amendments.cash_adoptions(db, CASH_REASON)
