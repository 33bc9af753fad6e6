"""Answers and events that can be read and are wrong."""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal

from domain.account import Account
from domain.market import Session
from domain.orders import BrokerOrder, TradeUpdate
from tests.simulation.faults import Faults

_NONSENSE = (Decimal("NaN"), Decimal(0), Decimal(-1), Decimal("Infinity"))


def account(faults: Faults, true: Account) -> Account:
    """Return the account, sometimes with a figure that cannot be."""
    if not faults.strikes("account.odd_figure"):
        return true
    figure = faults.pick("account.odd_figure", list(_NONSENSE))
    if faults.dice("account.odd_figure:which").random() < 0.5:
        return dataclasses.replace(true, buying_power=figure)
    return dataclasses.replace(true, cash=figure)


def order(faults: Faults, true: BrokerOrder) -> BrokerOrder:
    """Return an order as it is listed, sometimes with a field of another one."""
    if not faults.strikes("read.mixed_up"):
        return true
    return dataclasses.replace(true, quantity=true.quantity + 1)


def calendar(faults: Faults, true: Sequence[Session]) -> Sequence[Session]:
    """Return the sessions, sometimes none, cut short, or without some that there were."""
    if not faults.strikes("calendar.wrong"):
        return true
    how = faults.pick("calendar.wrong", ["empty", "begins late", "ends early", "holes", "newest"])
    if how == "holes":
        lost = faults.dice("calendar.wrong:holes").sample(range(len(true)), min(4, len(true)))
        return [one for number, one in enumerate(true) if number not in lost]
    if how == "newest":
        # A day ago or so, of what was traded on, and what is asked about.
        number = len(true) - faults.dice("calendar.wrong:newest").randint(10, 13)
        return [one for one in true if one is not true[max(number, 0)]] if true else true
    cut = faults.dice("calendar.wrong:cut").randint(0, len(true))
    return {"empty": (), "begins late": true[cut:], "ends early": true[:cut]}[how]


def update(faults: Faults, true: TradeUpdate) -> TradeUpdate:
    """Return an event of the stream, sometimes with an execution that cannot be."""
    if true.fill is None:
        return true
    if faults.strikes("stream.absurd"):
        return dataclasses.replace(true, fill=dataclasses.replace(true.fill, price=Decimal(0)))
    return true


def contradiction(faults: Faults, true: TradeUpdate) -> TradeUpdate | None:
    """Return the same execution told again, at another price."""
    if true.fill is None or not faults.strikes("stream.contradicts"):
        return None
    other = dataclasses.replace(true.fill, price=true.fill.price + 1)
    return dataclasses.replace(true, fill=other)
