"""The account as it really is: shares and cash, and the activities that tell of them.

It knows nothing of the daemon's books, and none of its code is theirs.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Any

from domain.account import Activity, ActivityKind
from domain.ids import Symbol
from domain.market import Session
from marketdata.session_calendar import NEW_YORK, day_start
from tests.simulation.faults import Faults
from tests.simulation.hours import TradingHours
from tests.simulation.loop import SimClock, SimLoop
from tests.simulation.market import Market
from tests.simulation.processes import Process

ACCOUNT = "SIM0000042"
START_CASH = Decimal(100_000)
_ZERO = Decimal(0)
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockAnswer:
    """One answer of the broker's clock."""

    at: float
    travel: float
    doubt: str
    """Why whoever heard it lets no entry leave; empty for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarAnswer:
    """One answer of the broker's calendar."""

    at: float
    process: Process
    lacking: frozenset[dt.date]
    """The closed days that the calendar did not have, whatever of it was asked for."""
    is_right: bool


class Account:
    """Shares, cash and activities, in a log that only grows."""

    def __init__(self, market: Market, faults: Faults, clock: SimClock, loop: SimLoop) -> None:
        self.market = market
        self.faults = faults
        self.clock = clock
        self.loop = loop
        self.log: list[tuple[Any, ...]] = []
        self.positions: dict[Symbol, Decimal] = {}
        self.cost: dict[Symbol, Decimal] = {}
        self.cash = START_CASH
        self.activities: list[tuple[float, Activity]] = []
        self.hand_trades: list[tuple[float, Symbol]] = []
        self.unexplained: set[Symbol] = set()
        self.halted: Symbol | None = None
        self.split_number: dict[Symbol, int] = {}
        """By symbol, the number that its last split has among executions."""
        self.clock_told: dict[str, list[ClockAnswer]] = defaultdict(list)
        """By program, what the broker's clock told it, oldest first."""
        self.calendar_told: list[CalendarAnswer] = []
        """What the broker's calendar told, oldest first."""
        self.listed_at: dict[str, float] = {}
        """By program, when it last read the open orders."""
        self.before_answer: Callable[[str], None] = lambda _what: None
        """Called before each answer to a question: the account may change meanwhile."""
        self.is_suspended = False
        self.is_shorting_forbidden = False
        self.is_blocked = False
        self.hours = TradingHours()
        self._awaited: list[Activity] = []
        self._numbers = 0

    # Time and money

    def now(self) -> dt.datetime:
        """Return the true time."""
        return self.clock.true_now()

    def write(self, kind: str, *fields: Any) -> None:
        """Append to the log."""
        self.log.append((round(self.loop.moment, 6), kind, *fields))

    def is_market_open(self) -> bool:
        """Tell whether orders match now."""
        return self.hours.is_open(self.now())

    @property
    def session(self) -> Session | None:
        """Today's session by our calendar."""
        return self.hours.planned

    def price(self, symbol: Symbol) -> Decimal:
        """Return the price of now."""
        return self.market.price(symbol, self.now())

    def is_untradable(self, symbol: Symbol) -> bool:
        """Tell whether nothing trades in a symbol, today or ever."""
        return symbol == self.halted or symbol in self.market.ended

    def equity(self) -> Decimal:
        """Return what the account is worth now."""
        worth = sum((q * self.price(s) for s, q in sorted(self.positions.items())), _ZERO)
        return self.cash + worth

    def number(self) -> int:
        """Return the next number of the broker."""
        self._numbers += 1
        return self._numbers

    # What happens to it

    def move(self, symbol: Symbol, change: Decimal, price: Decimal) -> None:
        """Take shares in or give them away, at what they cost."""
        held = self.positions.get(symbol, _ZERO)
        cost = self.cost.get(symbol, _ZERO)
        if held * change >= 0:
            cost += change * price
        else:
            kept = max(abs(held) - abs(change), _ZERO)
            cost = cost * kept / abs(held)
            if abs(change) > abs(held):
                cost = (held + change) * price
        self.positions[symbol] = held + change
        self.cost[symbol] = cost

    def post(self, activity: Activity, *, lag: float = 0.0) -> None:
        """Let an activity be read, after a lag."""
        self.activities.append((self.loop.moment + lag, activity))

    def post_late(self, activity: Activity, *, lag: float = 0.0) -> None:
        """Do the same for what has moved shares already, sometimes after hours."""
        if self.faults.strikes("activity.hours_late"):
            lag = self.faults.span("activity.hours_late", 600, 72_000)
        self.post(activity, lag=lag)

    def post_all(self) -> None:
        """Let everything be read that happened until now, and end every wait for money."""
        now = self.loop.moment
        self.activities = [(min(at, now), activity) for at, activity in self.activities]
        for activity in tuple(self._awaited):
            self._settle(activity)

    def pay(self, kind: ActivityKind, amount: Decimal, symbol: Symbol | None = None) -> None:
        """Move cash by a named activity.  Most are dated, not timed, and may come late."""
        is_timed = kind is ActivityKind.TRANSFER and not self.faults.has("money.transfer_dated")
        activity = Activity(
            activity_id=f"{kind.value.lower()}-{self.number():06d}",
            kind=kind,
            at=self.now() if is_timed else day_start(self.now().astimezone(NEW_YORK).date()),
            net_amount=amount.quantize(_CENT, rounding=ROUND_HALF_EVEN),
            symbol=symbol,
        )
        self._awaited.append(activity)
        if not is_timed and self.faults.strikes("activity.hours_late"):
            lag = self.faults.span("activity.hours_late", 600, 72_000)
            self.loop.call_later(lag, self._settle, activity)
        else:
            self._settle(activity)

    def take_fee(self, amount: Decimal, *, told_after: float) -> None:
        """Take a fee at once, and list it hours later: a report between the two cannot balance."""
        activity = Activity(
            activity_id=f"fee-{self.number():06d}",
            kind=ActivityKind.FEE,
            at=day_start(self.now().astimezone(NEW_YORK).date()),
            net_amount=-amount,
        )
        self.cash -= amount
        self.write("paid", activity.activity_id, str(-amount))
        self.post(activity, lag=told_after)

    @property
    def has_untold_fee(self) -> bool:
        """True while a fee that was taken is not listed."""
        now = self.loop.moment
        return any(at > now and one.kind is ActivityKind.FEE for at, one in self.activities)

    def _settle(self, activity: Activity) -> None:
        # The money comes when the activity does; only its date is older.
        if activity not in self._awaited:
            return
        self._awaited.remove(activity)
        self.cash += activity.net_amount
        self.write("paid", activity.activity_id, str(activity.net_amount))
        self.post(activity)

    def split(self, symbol: Symbol, ratio: Decimal, *, told: str = "at once") -> None:
        """Give ``ratio`` shares for each; what is less than a share is paid out.

        It is told at once, as shares that are taken and given anew (``in two rows``), or
        without a word about the fraction (``untold``).
        """
        if symbol in self.market.ended:
            return
        self.market.divisors[symbol] *= ratio
        self.split_number[symbol] = self._numbers
        held = self.positions.get(symbol, _ZERO)
        if not held:
            return
        whole = (held * ratio).to_integral_value(rounding=ROUND_DOWN)
        rest = held * ratio - whole
        self.positions[symbol] = whole
        self.cost[symbol] *= whole / (held * ratio)
        name = f"split-{self.number():06d}"
        self.write("split", name, symbol, str(ratio), str(rest), told)
        if rest:
            self.pay(ActivityKind.OTHER, rest * self.price(symbol), symbol)
        fraction = rest if rest and told != "untold" else None
        if told == "in two rows":
            self._tell_split(f"{name}-a", symbol, -held, None)
            self._tell_split(f"{name}-b", symbol, whole, fraction)
        else:
            self._tell_split(name, symbol, whole - held, fraction)

    def _tell_split(
        self, name: str, symbol: Symbol, added: Decimal, fraction: Decimal | None
    ) -> None:
        self.post_late(
            Activity(
                activity_id=name,
                kind=ActivityKind.SPLIT,
                at=self.now(),
                net_amount=_ZERO,
                symbol=symbol,
                quantity=added,
                fraction=fraction,
            )
        )

    def slip_in(self, symbol: Symbol, quantity: Decimal) -> None:
        """Move shares into the account without any activity that says so."""
        self.move(symbol, quantity, self.price(symbol))
        self.unexplained.add(symbol)
        self.write("slipped in", symbol, str(quantity))

    def suspend(self, *, is_suspended: bool) -> None:
        """Set the lock on new orders."""
        self.is_suspended = is_suspended
        self.write("suspended", is_suspended)

    def forbid_shorting(self, *, is_forbidden: bool) -> None:
        """Refuse every sale of more than is held and free, or do so no longer."""
        self.is_shorting_forbidden = is_forbidden
        self.write("shorting forbidden", is_forbidden)
