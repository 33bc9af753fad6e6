"""The plan of a day: what the night brings, and what happens when, drawn in the morning."""

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from decimal import Decimal
from functools import partial
from typing import Any

from domain.account import ActivityKind
from domain.market import Session
from tests.simulation.busts import Busts
from tests.simulation.checkers import books
from tests.simulation.daemon_life import second_daemon_is_refused
from tests.simulation.deposits import Deposits
from tests.simulation.judge import Judge
from tests.simulation.lasting import LASTING, happenings
from tests.simulation.listing import end_one
from tests.simulation.lives import Lives
from tests.simulation.market import SYMBOLS
from tests.simulation.messages import MESSAGES
from tests.simulation.person import Person
from tests.simulation.stories import SCHEDULE, away_until_cutoff, before, submit_of
from tests.simulation.world import World

_FIRST_TRADES = dt.timedelta(hours=5, minutes=30)
# What needs the market open, or shares to move.
_IN_SESSION = frozenset(
    {"hand.trade", "operator.flatten", "operator.adopt", "fill.busted", "fill.corrected"}
)
# How often a break is in what is held, and how often shares of it went rather than came.
_OF_HELD, _LOST = 0.8, 0.75
# How a split whose fractions are paid out may be told.
_TOLD = ("at once", "in two rows", "untold")
# Breaks of one night, at most.
_MOST_BROKEN = 3
# How often a daemon that is stopped is stopped before the day begins.
_DEPLOYED_EARLY = 0.5

_Happening = Callable[[], Coroutine[Any, Any, None]]


class DayPlan:
    """Draws what happens to each day, and lets it happen."""

    def __init__(self, world: World, lives: Lives, judge: Judge, person: Person) -> None:
        self._world = world
        self._lives = lives
        self._judge = judge
        self._person = person
        self._faults = world.faults
        self._truth = world.truth
        self._busts = Busts(world.truth)
        self._deposits = Deposits(world, lives)
        world.truth.while_read = self._busts.while_read
        self._lasting = happenings(world.faults, lambda: world.truth.lasting)

    def night(self, session: Session) -> None:
        """Let happen what happens while the market is closed."""
        faults, truth = self._faults, self._truth
        self._change_shares(session.open - _FIRST_TRADES)
        for symbol in SYMBOLS:
            held = truth.positions.get(symbol, Decimal(0))
            if held > 0 and faults.strikes("money.dividend"):
                truth.pay(ActivityKind.DIVIDEND, held * Decimal("0.13"), symbol)
        is_halted = faults.strikes("asset.halted")
        truth.halted = faults.pick("asset.halted", list(SYMBOLS)) if is_halted else None
        # Beside one that ended there must be enough symbols left to trade.
        if not truth.market.ended and faults.strikes("asset.ended"):
            end_one(truth)
        if faults.strikes("process.deployed"):
            moment = dt.timedelta(hours=faults.span("process.deployed", 0.5, 8))
            self._world.at(session.open - moment, self._lives.stop())
        if faults.strikes("books.broken"):
            self._break_books()
        if faults.strikes("money.fee"):
            truth.pay(ActivityKind.FEE, Decimal("-1.37"))
        if faults.strikes("money.transfer"):
            amount = Decimal(faults.pick("money.transfer", [7_500, 7_500, -7_500]))
            latest = (session.open - truth.now()).total_seconds() + 7200
            moment = dt.timedelta(seconds=faults.span("money.transfer", 120, latest))
            self._world.at(truth.now() + moment, self._transfer(amount))

    def _change_shares(self, begins: dt.datetime) -> None:
        """Draw a split, for when its day begins to trade."""
        if self._faults.strikes("corporate.split"):
            self._world.at(begins, self._split(Decimal(2)))
        elif self._faults.strikes("corporate.reverse_split"):
            self._world.at(begins, self._split(Decimal("0.5")))
        elif self._faults.strikes("corporate.consolidation"):
            self._world.at(begins, self._consolidate())

    def _break_books(self) -> None:
        """Let shares of some symbols come or go, each symbol once."""
        faults, truth = self._faults, self._truth
        dice, left = faults.dice("lost"), list(SYMBOLS)
        # Before there are books, what comes is only what was there already.
        low, high = (1, _MOST_BROKEN) if self._world.has_books else (0, 1)
        for _ in range(dice.randint(low, high)):
            held = [symbol for symbol in left if truth.positions.get(symbol, 0) > 2]
            symbol = faults.pick("broken", held if held and dice.random() < _OF_HELD else left)
            left.remove(symbol)
            is_loss = symbol in held and dice.random() < _LOST
            truth.slip_in(symbol, Decimal(-2 if is_loss else 3))

    def draw(self, session: Session) -> None:
        """Draw what happens to this day, and when."""
        if self._faults.strikes("process.at_cutoff"):
            self._world.beside(self._away_until_cutoff(session))
        following = list(self._world.sessions[self._world.sessions.index(session) + 1 :])
        if following and self._faults.strikes("process.away_for_days"):
            back = self._faults.pick("process.away_for_days", following)
            self._world.at(self._moment("away", session), self._keep_down(before(back)))
        for fault, name, times, happen in self._events():
            for _ in range(times):
                if self._faults.strikes(fault):
                    # Hands and flattening move shares while the market is open, the rest any time.
                    low = 1 if fault in _IN_SESSION else -15
                    self._world.at(self._moment(name, session, low=low), happen())
        scenario = self._world.scenario
        if scenario.kill_at_minute is not None and session is self._world.sessions[0]:
            moment = session.open + dt.timedelta(minutes=scenario.kill_at_minute)
            self._world.at(moment, self._person.kill(flatten=scenario.flatten))

    def _events(self) -> tuple[tuple[str, str, int, _Happening], ...]:
        """Return each fault by appointment: its dice, its most times a day, and what happens."""
        person = self._person
        return (
            ("broker.down", "down", 1, self._down),
            ("broker.keys_rotated", "keys", 1, self._rotate_keys),
            *((name, name, 1, self._lasting[name]) for name in LASTING if "keys" not in name),
            ("account.blocked", "blocked", 1, self._block),
            ("money.in_a_look", "money.in_a_look", 2, self._deposits.move),
            ("money.untold", "untold", 1, self._take_fee),
            ("hand.trade", "hand", 3, person.trade),
            ("hand.canceled", "hand.canceled", 2, person.cancel),
            ("hand.replaced", "replaced", 2, person.replace),
            ("fill.busted", "bust", 2, self._busts.bust),
            ("fill.corrected", "bust", 2, self._busts.correct),
            ("process.stop", "stop", 1, self._lives.stop),
            ("process.frozen", "frozen", 1, self._freeze),
            ("disk.full", "full", 1, self._fill_disk),
            ("process.crash_in_send", "send", 1, self._crash_soon),
            ("process.second", "second", 1, self._second),
            ("clock.jumped", "clock", 1, self._jump),
            ("clock.skewed", "skew", 1, self._drift),
            ("market.halted", "halted", 1, self._halt_market),
            ("operator.kill", "kill", 1, partial(person.kill, flatten=False)),
            ("operator.flatten", "flatten", 1, partial(person.kill, flatten=True)),
            ("disk.latch_lost", "latch", 1, self._lose_latch),
            ("operator.pause", "pause", 1, person.pause),
            ("operator.adopt", "adopt", 1, person.adopt),
            *((kind, kind, 1, partial(self._command, kind)) for kind in MESSAGES),
            ("mqtt.kill_refused", "mqtt.kill_refused", 1, self._kill_refused),
        )

    def _moment(self, name: str, session: Session, *, low: float = -15) -> dt.datetime:
        # Half of what happens, happens while orders are sent and filled.
        dice = self._faults.dice(f"moment:{name}")
        length = (session.close - session.open).total_seconds() / 60 - 60
        in_the_morning = 0.7 if name in {"latch", "pause", "skew"} else 0.4 * (name in LASTING)
        if in_the_morning and dice.random() < in_the_morning:
            return session.open - dt.timedelta(minutes=dice.uniform(1, 80))
        if name == "stop" and dice.random() < _DEPLOYED_EARLY:
            return session.open - dt.timedelta(minutes=dice.uniform(15, 80))
        if name == "send":
            return submit_of(session) - dt.timedelta(seconds=1)
        if name == "flatten":
            # When there is something to close.
            return session.open + dt.timedelta(minutes=dice.uniform(20, length))
        if low < 0 and dice.random() < 0.5:
            # While the orders of the day leave.
            before = dt.timedelta(minutes=SCHEDULE.submit_minutes_before_open)
            start = session.open - before
            return start + dt.timedelta(seconds=dice.uniform(0, 8))
        minutes = dice.uniform(low, 35) if dice.random() < 0.6 else dice.uniform(low, length)
        return session.open + dt.timedelta(minutes=minutes)

    # What happens

    async def _command(self, kind: str) -> None:
        life = self._lives.life
        receiver = life.commands if life is not None else None
        # With a clock that is wrong every message is stale, and rightly so.
        if receiver is not None and not self._world.clock.offset:
            self._world.blame(self._world.sender.deliver(receiver, kind))
            self._judge.look_at_latch()

    async def _kill_refused(self) -> None:
        """Let a kill come over MQTT while nothing can be written into the database."""
        life, disk = self._lives.life, self._world.disk
        receiver = life.commands if life is not None else None
        if life is None or receiver is None or self._world.clock.offset:
            return
        refuse = self._faults.pick("mqtt.kill_refused", [disk.hold, disk.fill])
        refuse(self._faults.span("mqtt.kill_refused", 0.1, 3))
        self._world.sender.kill(receiver)
        self._judge.look_at_latch()
        await self._judge.killed_from_afar(life, receiver)

    async def _split(self, ratio: Decimal) -> None:
        if not self._truth.open_orders():
            self._truth.split(self._faults.pick("split", list(SYMBOLS)), ratio)

    async def _consolidate(self) -> None:
        held = sorted(symbol for symbol, quantity in self._truth.positions.items() if quantity)
        if held and not self._truth.open_orders():
            told = self._faults.pick("corporate.consolidation:told", list(_TOLD))
            symbol = self._faults.pick("corporate.consolidation", held)
            self._truth.split(symbol, Decimal("0.1"), told=told)

    async def _transfer(self, amount: Decimal) -> None:
        self._truth.pay(ActivityKind.TRANSFER, amount)

    async def _take_fee(self) -> None:
        # What is taken before the books are opened is in their opening cash.
        if self._world.has_books and books.are_open(self._world.directory):
            after = self._faults.span("money.untold", 6 * 3600, 30 * 3600)
            self._truth.take_fee(Decimal("5.13"), told_after=after)

    async def _away_until_cutoff(self, session: Session) -> None:
        await away_until_cutoff(
            self._faults, session, until=self._world.until, keep_down=self._keep_down
        )

    async def _keep_down(self, until: dt.datetime) -> None:
        async with self._lives.away():
            await self._world.until(until)

    async def _down(self) -> None:
        self._truth.is_down = True
        if self._lives.life is not None:
            self._lives.life.stream.drop()
        # Who kills in vain does it again as soon as the broker is back.
        is_struck = self._faults.strikes("operator.kill_when_down")
        is_flatten = self._faults.dice("operator.kill_when_down:how").random() < 0.5
        if is_struck:
            self._world.beside(self._person.kill(flatten=is_flatten))
        await asyncio.sleep(self._faults.span("broker.down", 30, 9000))
        self._truth.is_down = False
        if is_struck:
            await self._person.kill(flatten=is_flatten)

    async def _rotate_keys(self) -> None:
        if self._lives.life is not None:
            self._lives.life.stream.drop()
        await self._lasting["broker.keys_rotated"]()
        # A fresh start reads the new ones.
        await self._lives.stop()

    async def _block(self) -> None:
        self._truth.is_blocked = True
        await asyncio.sleep(self._faults.span("account.blocked", 60, 7200))
        self._truth.is_blocked = False

    async def _lose_latch(self) -> None:
        path = self._world.directory / "KILL"
        if path.exists():
            if self._faults.dice("latch").random() < 0.5:
                path.unlink()
            else:
                path.write_bytes(b"{")

    async def _freeze(self) -> None:
        self._lives.freeze(self._faults.span("process.frozen", 20, 9000))

    async def _fill_disk(self) -> None:
        self._world.disk.fill(self._faults.span("disk.full", 60, 10_000))

    async def _crash_soon(self) -> None:
        life = self._lives.life
        if life is not None and self._lives.is_running:
            steps = self._faults.dice("crash_in_send").randint(1, 15)
            life.process.crash_at = life.process.steps + steps

    async def _second(self) -> None:
        life = self._lives.life
        is_open = self._lives.is_running and life is not None and life.store is not None
        if is_open and not second_daemon_is_refused(self._world.machine):
            self._world.blame([("I15", "a second daemon opened the same store")])

    async def _jump(self) -> None:
        minutes = self._faults.pick("clock", [-1440, -90, -1, 1, 7, 120])
        self._world.clock.move(dt.timedelta(minutes=minutes))
        await asyncio.sleep(self._faults.span("clock", 60, 3600))
        self._world.clock.move(dt.timedelta())

    async def _drift(self) -> None:
        seconds = self._faults.pick("clock.skewed", [-25, -6, 3, 12])
        self._world.clock.move(dt.timedelta(seconds=seconds))
        await asyncio.sleep(self._faults.span("clock.skewed", 600, 10_000))
        self._world.clock.move(dt.timedelta())

    async def _halt_market(self) -> None:
        self._truth.hours.is_halted = True
        await asyncio.sleep(self._faults.span("market.halted", 300, 7200))
        self._truth.hours.is_halted = False
