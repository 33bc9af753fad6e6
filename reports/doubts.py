"""Why a report is provisional: what belongs in it and may still come or change."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.errors import DataError
from domain.fees import FeeTrade, day_fees
from domain.money import CENT, ZERO, cents, decimal
from domain.orders import OrderState, Side
from reports.curves import moment
from reports.model import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """When the end-of-day run began, as stored, and when the next session's prices move.

    None where that is not known.
    """

    began: str | None = None
    next_prices: dt.datetime | None = None


_NOT_ASKED = Closing()


def doubts(
    *,
    session_date: dt.date,
    mode: str,
    end: Row,
    held: Sequence[Row],
    orders: Sequence[Row],
    fills: Sequence[Row],
    fees_posted: Decimal,
    closing: Closing = _NOT_ASKED,
) -> tuple[str, ...]:
    """Tell them, in sentences; empty when the report is final.

    Args:
        session_date: the session.
        mode: only a live account is charged regulatory fees.
        end: the last reading of equity and cash of the session.
        held: the positions that were read with it.
        orders: of the session.
        fills: of the session.
        fees_posted: fees that the broker booked, above 0.
        closing: when the session was closed.
    """
    found = [
        *_open_orders(orders),
        *_early_end(end, closing),
        *_late_end(end, closing),
        *_two_readings(end, held),
    ]
    if mode == "live":
        found += _late_fees(session_date, fills, fees_posted)
    return tuple(found)


def _open_orders(orders: Sequence[Row]) -> list[str]:
    left = sorted({str(o["symbol"]) for o in orders if not OrderState(o["state"]).is_terminal})
    return [f"Orders have not ended yet: {', '.join(left)}."] if left else []


def _early_end(end: Row, closing: Closing) -> list[str]:
    """The reading of the close may be missing or unusable; the day then ends with an older one."""
    if closing.began is None or moment(end["at"]) >= moment(closing.began):
        return []
    told = f"the day is told as of {moment(end['at']):%H:%M} UTC"
    if closing.next_prices is not None and moment(closing.began) >= closing.next_prices:
        return [f"Nobody read the close: {told}, and the rest of it is in the next report."]
    return [f"The close gave no usable equity: {told}."]


def _late_end(end: Row, closing: Closing) -> list[str]:
    """Where nothing was read in time, the day ends with figures that the next has moved."""
    if closing.next_prices is None or moment(end["at"]) < closing.next_prices:
        return []
    told = f"the day is told as of {moment(end['at']):%Y-%m-%d %H:%M} UTC"
    return [f"Nobody read the close: {told}, with a part of the next session in it."]


def _two_readings(end: Row, held: Sequence[Row]) -> list[str]:
    """The broker tells equity, and again as cash and positions; a stale figure shows here."""
    if any(row["price"] is None for row in held):
        return ["A position had no price when the day was closed."]
    value = sum((decimal(row["quantity"]) * decimal(row["price"]) for row in held), ZERO)
    apart = decimal(end["equity"]) - decimal(end["cash"]) - value
    if abs(apart) < CENT:
        return []
    told = f"The broker's equity is {cents(apart):+,.2f} USD apart from its cash and positions"
    return [f"{told}: one of the figures lags."]


def _late_fees(session_date: dt.date, fills: Sequence[Row], posted: Decimal) -> list[str]:
    trades = [
        FeeTrade(
            side=Side(fill["side"]),
            quantity=decimal(fill["quantity"]),
            price=decimal(fill["price"]),
            trade_id=str(fill["broker_order_id"]),
        )
        for fill in fills
    ]
    try:
        expected = day_fees(session_date, trades).total
    except DataError as exc:
        return [f"Fees cannot be checked: {exc}."] if trades else []
    if posted + CENT >= expected:
        return []
    return [f"Fees of about {expected} USD are due, {cents(posted)} are posted so far."]
