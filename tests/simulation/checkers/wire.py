"""What is judged at the instant an order leaves: meant, made durable, allowed, sane."""

import datetime as dt
import hashlib
import itertools
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.orders import OrderRequest
from tests.simulation.checkers.closing import closes_only
from tests.simulation.checkers.eligible import may_be_opened
from tests.simulation.checkers.evidence import Violations
from tests.simulation.hours import CLOSED
from tests.simulation.loop import SimClock
from tests.simulation.truth import Truth

# How old the price may be that an exit in the session goes by.
_RECENTLY = (dt.timedelta(), dt.timedelta(minutes=5))
# Seconds after an answer of the broker's clock in which an order may be on its way already.
_SETTLED = 20.0
_QUICKLY = 0.5
# From the decision to the last moment at which one of its orders may leave.
_DECIDED_WITHIN = dt.timedelta(hours=3)
_MOST_SKEW = dt.timedelta(seconds=2.5)


def durable_intent(db: sqlite3.Connection, request: OrderRequest) -> Violations:
    """I02: what goes out was made durable before, field for field."""
    order_id = request.client_order_id
    row = db.execute("SELECT * FROM orders WHERE client_order_id = ?", (order_id,)).fetchone()
    if row is None:
        return [("I02", f"{order_id} left without a row")]
    if row["state"] != "sending":
        return [("I02", f"{order_id} left while its row said {row['state']}")]
    is_equal = (
        row["symbol"] == request.symbol
        and row["side"] == request.side.value
        and _same(row["quantity"], request.quantity)
        and _same(row["limit_price"], request.limit_price)
        and row["time_in_force"] == request.time_in_force.value
    )
    return [] if is_equal else [("I02", f"{order_id} differs from its row")]


def _same(written: str | None, value: Decimal | None) -> bool:
    if written is None or value is None:
        return written is None and value is None
    return Decimal(written) == value


def derived_id(request: OrderRequest, account: str) -> Violations:
    """I01: an id follows from what the order is for, so that it is the same after any crash."""
    date = request.session_date
    parts = (account, request.strategy, date.isoformat(), request.symbol, request.leg)
    digest = hashlib.sha256("\x1f".join((*parts, str(request.revision))).encode()).hexdigest()
    name = f"ob-{date:%Y%m%d}-{request.symbol}-{request.leg}-{request.revision}-{digest[:12]}"
    if request.client_order_id == name:
        return []
    return [("I01", f"{request.client_order_id} does not follow from its intent")]


def state_allows(truth: Truth, db: sqlite3.Connection, request: OrderRequest) -> Violations:
    """I04, I09: only what lowers exposure leaves for a locked symbol or while reducing."""
    state = db.execute("SELECT trading_state FROM risk_state").fetchone()["trading_state"]
    lock = db.execute(
        "SELECT reason FROM symbol_locks WHERE symbol = ?", (request.symbol,)
    ).fetchone()
    is_exit = closes_only(truth, db, request)
    if lock is not None and not is_exit:
        return [("I04", f"{request.client_order_id} raised exposure in a locked symbol")]
    if state == "HALTED" or (state == "REDUCING" and not is_exit):
        return [("I09", f"{request.client_order_id} left while {state}")]
    return []


def sane_order(truth: Truth, request: OrderRequest, limits: Any) -> Violations:
    """I10: finite, above 0, whole shares, on the tick grid, inside the collar."""
    found: Violations = []
    order_id, limit = request.client_order_id, request.limit_price
    if not (request.quantity.is_finite() and request.quantity > 0 and request.quantity % 1 == 0):
        found.append(("I10", f"{order_id} has quantity {request.quantity}"))
    if limit is None:
        return [*found, ("I10", f"{order_id} has no limit price")]
    grid = Decimal("0.01") if limit >= 1 else Decimal("0.0001")
    if not (limit.is_finite() and limit > 0 and limit % grid == 0):
        found.append(("I10", f"{order_id} has limit {limit}"))
    close = truth.market.close_before(request.symbol, request.session_date)
    if request.leg == "entry":
        found += may_be_opened(truth, request, limits)
        found += decided_on_what_is_held(truth, request)
    if request.leg == "entry" and request.decision_price != close:
        found.append(("I10", f"{order_id} was decided on {request.decision_price}, not on {close}"))
    is_entry = request.leg == "entry"
    collar = limits.price_collar_pct if is_entry else limits.exit_collar_pct
    # What is sold during the session goes by the price of that minute, its resend too.
    first = truth.first_written(order_id, limit)
    recent = [truth.market.price(request.symbol, first - one) for one in _RECENTLY]
    near = [close] if is_entry else [close, *recent]
    adverse = min((limit - price) * request.side.sign * 100 / price for price in near)
    if not adverse <= collar + Decimal("0.001"):
        found.append(("I10", f"{order_id} limit {limit} is {adverse:.2f} % beyond close {close}"))
    return found


def decided_on_what_is_held(truth: Truth, request: OrderRequest) -> Violations:
    """I10: an entry adds to a holding or begins one; what is held the other way is exited first.

    Found as seed 410072: an empty list of positions was decided on, and each limit let it pass.
    """
    since = truth.now() - _DECIDED_WITHIN
    moved = any(one.symbol == request.symbol and one.at > since for one in truth.executions)
    doubtful = truth.unexplained | {one.was.symbol for one in truth.amendments}
    held = truth.positions.get(request.symbol, Decimal(0))
    if held * request.side.sign >= 0 or moved or request.symbol in doubtful:
        return []
    return [("I10", f"{request.client_order_id} enters against {held} shares that are held")]


def in_window(truth: Truth, request: OrderRequest, schedule: Any) -> Violations:
    """I11: nothing leaves outside its session, and no entry outside its window of it."""
    session = truth.session
    if session is None or request.session_date != session.date:
        return [("I11", f"{request.client_order_id} left outside its session")]
    before = (session.open - truth.now()).total_seconds() / 60
    first, last = schedule.submit_minutes_before_open, -schedule.entry_cutoff_minutes_after_open
    if request.leg == "exit":
        # A protective exit may leave until the close.
        last = -(session.close - session.open).total_seconds() / 60
    if not last <= before <= first:
        return [("I11", f"{request.client_order_id} left {before:.0f} minutes before the open")]
    return []


def market_agrees(truth: Truth, process: str, request: OrderRequest, clock: SimClock) -> Violations:
    """I11: no entry leaves on a day, or by a clock, that the broker's clock has told is wrong."""
    order_id, is_entry, session = request.client_order_id, request.leg == "entry", truth.session
    # An exit goes by this machine's clock, which may be ahead.
    is_early = session is not None and clock.now() < session.open
    told = truth.clock_told[process]
    doubts = list(itertools.takewhile(lambda one: one.doubt, reversed(told)))
    if doubts and truth.loop.moment - doubts[-1].at > _SETTLED:
        doubt = doubts[0].doubt
        if is_entry or (is_early and doubt == CLOSED):
            return [("I11", f"{order_id} left although the broker's clock told: {doubt}")]
    since = [one for one in told if one.at - one.travel > clock.moved_at]
    # What was on the way for long says little about seconds.
    is_told = bool(since) and truth.loop.moment - since[0].at > _SETTLED
    is_exact = is_told and all(one.travel < _QUICKLY for one in since)
    if is_entry and is_exact and abs(clock.offset) > _MOST_SKEW:
        return [("I11", f"{order_id} left by a clock that is {clock.offset} from the broker's")]
    return []


def paused(
    directory: Path, truth: Truth, db: sqlite3.Connection, request: OrderRequest
) -> Violations:
    """I09: no entry leaves while a person has paused entries."""
    is_exit = request.leg == "exit" or closes_only(truth, db, request)
    if is_exit or not (directory / "PAUSE").exists():
        return []
    return [("I09", f"{request.client_order_id} left while entries are paused")]
