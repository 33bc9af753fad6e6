"""What the account may come to if everything that may work fills (I08)."""

import datetime as dt
import itertools
import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.ids import Symbol
from domain.orders import OrderRequest, Side
from risk.settings import RiskLimits
from tests.simulation.checkers.closing import closes_only
from tests.simulation.checkers.evidence import ZERO, Violations, hand_traded
from tests.simulation.market import VOLUME
from tests.simulation.truth import Truth

_PLANNED = "SELECT created_at FROM orders WHERE client_order_id = ?"
_Working = tuple[str, Side, Decimal, Decimal | None]
"""Symbol, side, shares and limit price of an order that may still fill."""


def _withdrawn_unseen(truth: Truth, db: sqlite3.Connection, order_id: str) -> Decimal:
    """Return what was withdrawn since an equity was told that the order could be judged by.

    Found as seed 900360; one that leaves again after a doubt was judged before (27000450).
    """
    row = db.execute(_PLANNED, (order_id,)).fetchone()
    planned = truth.clock.loop_time(dt.datetime.fromisoformat(row["created_at"])) if row else None

    def is_after(entry: tuple[Any, ...]) -> bool:
        return entry[1] != "equity" or (planned is not None and entry[0] > planned)

    since = itertools.takewhile(is_after, reversed(truth.log))
    amounts = [Decimal(entry[3]) for entry in since if entry[1] == "paid"]
    return -sum((amount for amount in amounts if amount < 0), ZERO)


def within_limits(
    truth: Truth, db: sqlite3.Connection, request: OrderRequest, limits: RiskLimits
) -> Violations:
    """I08: the limits hold even if every order that may be working fills."""
    found: Violations = []
    order_id = request.client_order_id
    price = request.limit_price or request.decision_price
    notional = request.quantity * price
    if not notional <= limits.max_order_notional_usd:
        found.append(("I08", f"{order_id} is worth {notional}"))
    found += _so_many(db, request, limits)
    held = truth.positions.get(request.symbol, ZERO)
    is_hand = hand_traded(truth, request.symbol)
    if request.leg != "entry":
        if not (closes_only(truth, db, request) or is_hand):
            found.append(("I08", f"{order_id} closes {request.quantity} of {held}"))
        return found
    may_be = held - request.quantity if request.side is Side.SELL else held
    if may_be < 0 and not limits.allow_short and not is_hand:
        found.append(("I08", f"{order_id} sells more than is held"))
    found += _within_the_day(db, request, limits)
    volume = truth.market.volumes.get(request.symbol, VOLUME)
    if volume is None and limits.require_known_volume:
        found.append(("I08", f"{order_id} opens a position of unknown volume"))
    if volume is not None and not request.quantity * 100 <= limits.max_adv_pct * Decimal(volume):
        found.append(("I08", f"{order_id} is more than {limits.max_adv_pct} % of {volume}"))
    return found + _within_exposure(truth, db, request, limits)


def _within_exposure(
    truth: Truth, db: sqlite3.Connection, request: OrderRequest, limits: RiskLimits
) -> Violations:
    """I08: the farthest that the account can get, up or down, symbol by symbol."""
    found: Violations = []
    order_id = request.client_order_id
    equity = truth.equity() + _withdrawn_unseen(truth, db, order_id)
    # The gate works on the last close and on an equity some minutes old: one per cent of room.
    bound = equity * Decimal("1.01") / 100
    lowest, highest = _reach(truth, db, request.session_date)
    worst = {s: max(abs(lowest[s]), abs(highest[s])) for s in sorted(highest)}
    mine = worst.get(request.symbol, ZERO)
    if not mine <= bound * limits.max_position_pct and not hand_traded(truth, request.symbol):
        found.append(("I08", f"{order_id} may take {request.symbol} to {mine:.2f} of {equity}"))
    if truth.hand_trades:
        return found
    gross = sum(worst.values(), ZERO)
    if not gross <= bound * limits.max_gross_pct:
        found.append(("I08", f"{order_id} may take gross to {gross:.2f} of {equity}"))
    net = max(abs(sum(lowest.values(), ZERO)), abs(sum(highest.values(), ZERO)))
    if not net <= bound * limits.max_net_pct:
        found.append(("I08", f"{order_id} may take net to {net:.2f} of {equity}"))
    return found


def _reach(
    truth: Truth, db: sqlite3.Connection, date: dt.date
) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Return the lowest and highest USD of each symbol if only its sells, or buys, fill."""
    lowest: dict[str, Decimal] = {}
    highest: dict[str, Decimal] = {}
    orders = _may_fill(truth, db)
    for symbol in sorted({*truth.positions, *(one[0] for one in orders)}):
        close = truth.market.close_before(Symbol(symbol), date)
        held = truth.positions.get(Symbol(symbol), ZERO)
        for side, found in ((Side.SELL, lowest), (Side.BUY, highest)):
            mine = [one for one in orders if one[:2] == (symbol, side)]
            # What an order closes is worth the close, what it opens its own price.
            away = held * side.sign
            worth = away * close
            for _, _, quantity, price in mine:
                closed = min(max(-away, ZERO), quantity)
                worth += closed * close + (quantity - closed) * (price or close)
                away += quantity
            found[symbol] = worth * side.sign
    return lowest, highest


def _so_many(db: sqlite3.Connection, request: OrderRequest, limits: RiskLimits) -> Violations:
    count = db.execute(
        "SELECT count(*) FROM orders WHERE session_date = ?"
        " AND is_external = 0 AND state NOT IN ('planned', 'approved', 'denied', 'skipped')",
        (request.session_date.isoformat(),),
    ).fetchone()[0]
    if count <= limits.max_orders_per_day:
        return []
    return [("I08", f"{count} orders in a day: {request.client_order_id}")]


def _within_the_day(
    db: sqlite3.Connection, request: OrderRequest, limits: RiskLimits
) -> Violations:
    rows = db.execute(
        "SELECT quantity, limit_price FROM orders WHERE session_date = ? AND leg = 'entry'"
        " AND is_external = 0 AND state NOT IN ('planned', 'approved', 'denied', 'skipped')",
        (request.session_date.isoformat(),),
    ).fetchall()
    spent = sum((Decimal(row[0]) * Decimal(row[1]) for row in rows), ZERO)
    if spent > limits.max_notional_per_day_usd:
        return [("I08", f"entries of {spent} in a day: {request.client_order_id}")]
    return []


def _may_fill(truth: Truth, db: sqlite3.Connection) -> list[_Working]:
    """Return all that works at the broker or is on the way to it."""
    found: list[_Working] = []
    seen = set()
    for order in truth.orders.values():
        seen.add(order.client_id)
        if order.is_open:
            found.append((order.symbol, order.side, order.left, order.limit))
    rows = db.execute("SELECT * FROM orders WHERE state IN ('sending', 'unknown', 'abandoned')")
    for row in rows:
        if row["client_order_id"] not in seen and row["limit_price"] is not None:
            quantity, limit = Decimal(row["quantity"]), Decimal(row["limit_price"])
            found.append((row["symbol"], Side(row["side"]), quantity, limit))
    return found


def is_too_large(
    truth: Truth, symbol: str, limits: RiskLimits, booked: Mapping[Symbol, Decimal]
) -> bool:
    """Tell whether a holding, at its cost or at its price, is beyond a limit of holdings.

    ``booked`` is what the books count instead of symbols of which they cannot know better.
    """
    worth = {
        name: max(abs(truth.cost[name]), abs(held * truth.price(name)))
        for name, held in truth.positions.items()
        if held
    }
    for name, cost in booked.items():
        worth[name] = max(worth.get(name, ZERO), cost)
    bound = truth.equity() * Decimal("0.99") / 100
    return (
        worth.get(Symbol(symbol), ZERO) > bound * limits.max_position_pct
        or sum(worth.values(), ZERO) > bound * limits.max_gross_pct
    )
