"""Busts, late splits, payouts and executions: what the books would be had all been told in time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from domain.money import ZERO
from state.cost_basis import Change, Holding, adopt, exact_sum, give_back, pay_fraction, trade
from state.entries import Entry, in_time, is_paid_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Shares, cost and realized profit of one symbol."""

    holding: Holding
    realized_pnl: Decimal


@dataclass(slots=True)
class Replay:
    """The entries of one symbol, booked again one by one, by the rules they were booked by."""

    holding: Holding = field(default_factory=Holding)
    realized_pnl: Decimal = ZERO
    adoptions: dict[str, Change] = field(default_factory=dict)
    """By moment, what the first adoption of it did: late entries give back parts of it."""
    is_given_back: bool = False
    """Whether the last entry, payouts apart, gave back: its cost is the next execution's."""
    _unpaid: Entry | None = None
    """The last split, while nobody has said what fraction it left in the cost."""

    @property
    def standing(self) -> Standing:
        """What the entries so far come to."""
        return Standing(holding=self.holding, realized_pnl=self.realized_pnl)

    def add(self, entry: Entry) -> Change:
        """Book one more entry; return what it changes."""
        change = self._change(entry)
        self.holding = Holding(
            quantity=exact_sum((self.holding.quantity, change.quantity)),
            total_cost=exact_sum((self.holding.total_cost, change.cost)),
        )
        self.realized_pnl = exact_sum((self.realized_pnl, change.realized_pnl))
        if entry.kind != "payout":
            self.is_given_back = entry.is_given_back
        if entry.kind in {"split", "fraction", "adoption"}:
            self._unpaid = entry if entry.kind == "split" else None
        return change

    def _change(self, entry: Entry) -> Change:
        if entry.kind == "split":
            return Change(quantity=entry.quantity)
        if entry.kind == "payout":
            return self._paid(entry)
        if entry.kind == "adoption":
            return self._adopted(entry)
        price = unit_price(-entry.cash, entry.quantity)
        return trade(self.taken_up(), entry.quantity, price)

    def taken_up(self) -> Holding:
        """Return what an execution trades with: a cost that waits for it stays as it is."""
        is_waiting = self.is_given_back and not self.holding.quantity
        return Holding() if is_waiting else self.holding

    def _paid(self, entry: Entry) -> Change:
        if self._unpaid is not None and is_paid_by(self._unpaid, entry):
            return pay_fraction(self.holding, entry.cash)
        return Change(cash=entry.cash, realized_pnl=entry.cash)

    def _adopted(self, entry: Entry) -> Change:
        if entry.is_given_back and entry.at in self.adoptions:
            return give_back(self.holding, self.adoptions[entry.at], -entry.quantity)
        change = adopt(self.holding, entry.quantity, unit_price(entry.in_kind, entry.quantity))
        self.adoptions.setdefault(entry.at, change)
        return change


def replay(entries: Iterable[Entry]) -> Replay:
    """Book the entries again, in the order in which they should have been told."""
    played = Replay()
    for entry in in_time(entries):
        played.add(entry)
    return played


def held_before(entries: Iterable[Entry], told: Entry) -> Holding:
    """Return what an execution trades with that is told last, and was made where it belongs."""
    played = Replay()
    for entry in in_time([*entries, told]):
        if entry is told:
            break
        played.add(entry)
    return played.taken_up()


def restated(before: Standing, after: Standing, *, cash: Decimal) -> Change:
    """Return the entry that leads from one standing to the other and moves ``cash``."""
    return Change(
        quantity=exact_sum((after.holding.quantity, -before.holding.quantity)),
        cash=cash,
        cost=exact_sum((after.holding.total_cost, -before.holding.total_cost)),
        realized_pnl=exact_sum((after.realized_pnl, -before.realized_pnl)),
    )


def unit_price(paid: Decimal, quantity: Decimal) -> Decimal:
    """Return the price that an entry was made at."""
    # paid is an exact product of quantity and a price, so this quotient terminates.
    return paid / quantity
