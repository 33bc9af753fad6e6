"""Identifiers, and the one way a client_order_id is made.

An id is derived from what the order is for, never drawn: the same intent after any
crash, even with the database lost, has the same id, so the broker itself refuses a twin.
"""

import datetime as dt
import hashlib
import re
from typing import NewType

Symbol = NewType("Symbol", str)
ClientOrderId = NewType("ClientOrderId", str)
BrokerOrderId = NewType("BrokerOrderId", str)
ExecutionId = NewType("ExecutionId", str)

CLIENT_ORDER_ID_MAX_LENGTH = 48
CLIENT_ORDER_ID_PREFIX = "ob"

_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,9}")


def is_symbol(text: str) -> bool:
    """Tell whether ``text`` has the form of a US equity symbol (``AAPL``, ``BRK.B``)."""
    return _SYMBOL.fullmatch(text) is not None


def client_order_id(
    *,
    account: str,
    strategy: str,
    session_date: dt.date,
    symbol: Symbol,
    leg: str,
    revision: int = 0,
) -> ClientOrderId:
    """Derive the id of one order intent.

    Args:
        account: broker account number; keeps two accounts apart.
        strategy: name of the strategy, or ``book`` for the combined book.
        session_date: session the order belongs to, not the date it is sent.
        symbol: instrument.
        leg: which order of the day this is for the symbol, such as ``entry``, ``exit``
            or ``flatten``.
        revision: 0 for the first order of that leg; only an order whose predecessor is
            known to be terminal may use the next number.

    Returns:
        At most 48 characters, readable up to the hash:
        ``ob-20221214-AAPL-entry-0-5f0c2a9b1d3e``.
    """
    seed = "\x1f".join((account, strategy, session_date.isoformat(), symbol, leg, str(revision)))
    digest = hashlib.sha256(seed.encode()).hexdigest()[:12]
    readable = f"{CLIENT_ORDER_ID_PREFIX}-{session_date:%Y%m%d}-{symbol}-{leg}-{revision}"
    keep = CLIENT_ORDER_ID_MAX_LENGTH - len(digest) - 1
    return ClientOrderId(f"{readable[:keep]}-{digest}")


def is_ours(order_id: str) -> bool:
    """Tell whether an id has our form; anything else in the account is external."""
    return order_id.startswith(f"{CLIENT_ORDER_ID_PREFIX}-")
