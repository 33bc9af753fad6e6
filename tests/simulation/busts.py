"""Executions that the broker takes back or corrects, minutes or days after they happened.

The stream tells of it once; no activity does.
"""

import asyncio
import dataclasses
import datetime as dt
from decimal import Decimal

from domain.ids import BrokerOrderId, ClientOrderId, ExecutionId
from domain.orders import Fill, TradeUpdate
from tests.simulation.broker_orders import Amendment, Execution
from tests.simulation.stories import submit_of
from tests.simulation.truth import Truth

# Seconds in which the stream tells what it tells, unless it is late.
_TOLD_WITHIN = 0.25
_CENT, _TICK = Decimal("0.01"), Decimal("0.0001")


class Busts:
    """Draws executions to amend, and lets the stream tell."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._day: dt.date | None = None

    async def bust(self) -> None:
        """Take one execution back."""
        found = self._draw("fill.busted")
        if found is not None:
            self._amend(found, None, "trade_bust")

    async def while_read(self) -> None:
        """Take one back once the positions were looked up and before they arrive.

        Once a day, in the first look of those whose orders are about to leave; and by a name
        that no books have.
        """
        truth, session = self._truth, self._truth.session
        if session is None or self._day == session.date or truth.now() < submit_of(session):
            return
        self._day = session.date
        if not truth.faults.strikes("fill.bust_in_reading"):
            return
        found = self._draw("fill.bust_in_reading")
        if found is not None:
            self._amend(found, None, "trade_bust", name=f"n{found.number:06d}")
            await asyncio.sleep(_TOLD_WITHIN)

    async def correct(self) -> None:
        """Say that one execution had another price, and sometimes fewer shares."""
        found = self._draw("fill.corrected")
        if found is None:
            return
        dice = self._truth.faults.dice("fill.corrected:figures")
        change = Decimal(dice.choice([-4, -1, 1, 4])) / 1000
        price = (found.price * (1 + change)).quantize(_CENT if found.price > 1 else _TICK)
        if price == found.price:
            return
        now = dataclasses.replace(found, price=price)
        if found.quantity > 1 and self._is_last(found) and dice.random() < 0.4:
            fewer = Decimal(dice.randint(1, int(found.quantity) - 1))
            now = dataclasses.replace(
                now, quantity=found.quantity - fewer, cumulative=found.cumulative - fewer
            )
        self._amend(found, now, "trade_correct")

    def _draw(self, fault: str) -> Execution | None:
        truth = self._truth
        amended = {one.was.number for one in truth.amendments}
        fit = [
            one
            for one in truth.executions
            if one.number not in amended
            and not truth.orders[one.broker_id].is_open
            # What a share was before a split nobody could tell.
            and one.number > truth.split_number.get(one.symbol, 0)
        ]
        return truth.faults.pick(fault, fit) if fit else None

    def _is_last(self, execution: Execution) -> bool:
        order = self._truth.orders[execution.broker_id]
        return order.executions[-1].number == execution.number

    def _amend(
        self, was: Execution, now: Execution | None, event: str, *, name: str | None = None
    ) -> None:
        truth = self._truth
        name = name or truth.execution_id(was, channel="stream")
        amendment = Amendment(was=was, now=now, name=name, at=truth.loop.moment)
        truth.amendments.append(amendment)
        place = truth.executions.index(was)
        truth.executions[place : place + 1] = [now] if now is not None else []
        truth.move(was.symbol, amendment.shares, was.price)
        truth.cash += amendment.cash
        # Until the books agree, what is held moves as by a person's hand.
        truth.hand_trades.append((truth.loop.moment, was.symbol))
        order = truth.orders[was.broker_id]
        if not truth.faults.has("fill.bust_keeps_total"):
            order.filled += amendment.shares * was.side.sign
            order.paid -= amendment.cash * was.side.sign
        truth.write(event, was.broker_id, was.number, str(amendment.shares), str(amendment.cash))
        update = TradeUpdate(
            event=event,
            order=order.shown(),
            fill=self._fill(now) if now is not None else None,
            at=truth.now(),
            previous_execution_id=ExecutionId(name),
        )
        truth.tell(update)

    def _fill(self, now: Execution) -> Fill:
        return Fill(
            execution_id=ExecutionId(f"{self._truth.execution_id(now, channel='stream')}c"),
            broker_order_id=BrokerOrderId(now.broker_id),
            client_order_id=ClientOrderId(now.client_id),
            symbol=now.symbol,
            side=now.side,
            quantity=now.quantity,
            price=now.price,
            cumulative_quantity=now.cumulative,
            at=now.at,
        )
