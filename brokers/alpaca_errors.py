"""What an answer of Alpaca's trading API means; the one place that decides it.

A refusal is believed only in the form that Alpaca gives it.  Whatever else comes back
for a write (a gateway's page, a redirect, half a document) leaves the outcome open.
"""

import datetime as dt
from decimal import Decimal
from typing import NoReturn

from brokers import alpaca_fields as fields
from brokers import alpaca_parsing as parsing
from domain.errors import (
    AuthRefused,
    BrokerError,
    BrokerUnavailable,
    DataError,
    DuplicateOrder,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from domain.money import text
from domain.orders import BrokerOrder, OrderRequest
from domain.reasons import one_line
from transport.failures import TransportError
from transport.http import Reply
from transport.pacing import retry_after_seconds, seconds_until_reset

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
TOO_MANY = 429
_REFUSALS = frozenset({FORBIDDEN, NOT_FOUND, 422})
_TAKEN = "must be unique"
_SERVER_ERROR = 500
_DEFAULT_WAIT_SECONDS = 1.0
_LONGEST_MESSAGE = 300


class Unanswered(BrokerUnavailable):
    """A read that may well succeed when it is tried again."""


def raise_for_write(reply: Reply, *, what: str, now: dt.datetime) -> NoReturn:
    """Raise the error that a write's reply stands for; call it for anything but success."""
    code, message = code_and_message(reply)
    label = f"{what}: {reply.status} {message}".rstrip()
    if reply.status == UNAUTHORIZED:
        raise AuthRefused(f"{label}; check the API keys and that they belong to this host")
    if reply.status == TOO_MANY:
        raise RateLimited(label, retry_after_seconds=wait_seconds(reply, now=now))
    if reply.status in _REFUSALS and message:
        if _TAKEN in message.lower():
            # By its words, whatever the code: taken for a refusal, an order that lives would be
            # forgotten; taken for a duplicate, a refused one is looked up and not found.
            raise DuplicateOrder(label)
        raise OrderRejected(label, code=code)
    raise OutcomeUnknown(f"{what}: answered {reply.status}; look it up before anything else")


def write_failure(exc: TransportError, *, what: str) -> BrokerError:
    """Translate a write that got no reply."""
    if not exc.was_sent:
        return NotSent(f"{what}: {exc}")
    return OutcomeUnknown(f"{what}: {exc}; look it up before anything else")


def raise_for_read(reply: Reply, *, what: str) -> NoReturn:
    """Raise the error that a read's reply stands for; call it for anything but success."""
    _, message = code_and_message(reply)
    label = f"{what}: {reply.status} {message}".rstrip()
    if reply.status == UNAUTHORIZED or (reply.status == FORBIDDEN and message):
        raise AuthRefused(f"{label}; check the API keys and that they belong to this host")
    if reply.status >= _SERVER_ERROR or reply.status == TOO_MANY or not message:
        raise Unanswered(label)
    raise BrokerUnavailable(label)


def is_absent(reply: Reply) -> bool:
    """Tell whether the broker itself says that there is no such thing."""
    return reply.status == NOT_FOUND and code_and_message(reply)[1] != ""


def wait_seconds(reply: Reply, *, now: dt.datetime) -> float:
    """Return how long a 429 asks us to wait, in [0, 60]."""
    asked = retry_after_seconds(reply.headers.get("retry-after"), now=now)
    if asked is None:
        asked = seconds_until_reset(reply.headers, now=now)
    return _DEFAULT_WAIT_SECONDS if asked is None else asked


def accepted_order(reply: Reply, request: OrderRequest) -> BrokerOrder:
    """Read the order in a successful reply, which must be ours in every field.

    Raises:
        OutcomeUnknown: unreadable, or another order than the one sent.
    """
    what = f"order {request.client_order_id}"
    try:
        order = parsing.order(reply.json(what=what))
    except DataError as exc:
        raise OutcomeUnknown(f"{what}: accepted with an unreadable answer ({exc})") from exc
    if wrong := differences(order, request):
        raise OutcomeUnknown(f"{what}: the answer is about another order ({', '.join(wrong)})")
    return order


def differences(order: BrokerOrder, request: OrderRequest) -> tuple[str, ...]:
    """Name every field in which the broker's order is not the one we asked for."""
    tif = request.time_in_force.value
    pairs = (
        ("client_order_id", order.client_order_id, request.client_order_id),
        ("symbol", order.symbol, request.symbol),
        ("side", order.side, request.side),
        ("quantity", order.quantity, request.quantity),
        # Words that an older server may leave out; where they are given they must fit.
        ("type", order.order_type or request.order_type.value, request.order_type.value),
        ("limit_price", order.limit_price, request.limit_price),
        ("time_in_force", order.time_in_force or tif, tif),
    )
    return tuple(
        f"{name} {_shown(theirs)} instead of {_shown(ours)}"
        for name, theirs, ours in pairs
        if theirs != ours
    )


def code_and_message(reply: Reply) -> tuple[int | None, str]:
    """Return code and message of Alpaca's error form, or None and nothing for other bodies."""
    try:
        body = fields.row(reply.json(what="error"), what="error")
    except DataError:
        return None, ""
    code, message = body.get("code"), body.get("message")
    shown = one_line(message[:_LONGEST_MESSAGE]) if isinstance(message, str) else ""
    return (code if isinstance(code, int) and not isinstance(code, bool) else None), shown


def _shown(value: object) -> str:
    return text(value) if isinstance(value, Decimal) else str(value)
