"""The invariants, judged from the broker's log and raw SQL; nothing of the product's code.

Each function returns the violations that it saw, as (invariant, text).
"""

import datetime as dt
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from domain.ids import Symbol
from domain.orders import OrderRequest, Side
from state.mark import Mark
from tests.simulation.truth import START_CASH, Execution, Truth

Violations = list[tuple[str, str]]
_ZERO = Decimal(0)
# Per cent beyond a loss limit at which it is surely reached.
_MARGIN = Decimal("0.1")
# The adapter paces to 200 a minute; here a storm must show, so the port counts what is asked.
MOST_REQUESTS = 600
MOST_WRITES = 12
_MISSED = "SELECT * FROM runs WHERE state = 'SKIPPED' AND reason LIKE 'missed%' ORDER BY run_id"
# How old the price may be that an exit in the session goes by.
_RECENTLY = (dt.timedelta(), dt.timedelta(minutes=5))
# Seconds that a run may begin late: the one before it may still wait for answers.
_LATEST_RUN = 900
# Seconds before the open at which the previous session has surely ended.
_NIGHT = 17 * 3600
# What of a limit must have been lost before halting for it has a cause.
_LEAST = Decimal("0.7")
_RUNS = ("premarket", "submit", "cutoff", "eod")


@contextmanager
def reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the database as a stranger: only what is committed is seen."""
    connection = sqlite3.connect(f"file:{directory / 'openbell.db'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def latch_is_engaged(directory: Path) -> bool:
    """Read the latch file by hand; whatever is not a whole armed record is engaged."""
    try:
        record = json.loads((directory / "KILL").read_bytes().split(b"\n", 1)[0])
        checksum = record.pop("checksum")
        body = json.dumps(record, sort_keys=True).encode()
        is_whole = hashlib.sha256(body).hexdigest() == checksum
        return not (is_whole and record["state"] == "armed")
    except (OSError, ValueError, KeyError, AttributeError):
        return True


def _same(written: str | None, value: Decimal | None) -> bool:
    if written is None or value is None:
        return written is None and value is None
    return Decimal(written) == value


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


def derived_id(request: OrderRequest, account: str) -> Violations:
    """I01: an id follows from what the order is for, so that it is the same after any crash."""
    date = request.session_date
    parts = (account, request.strategy, date.isoformat(), request.symbol, request.leg)
    digest = hashlib.sha256("\x1f".join((*parts, str(request.revision))).encode()).hexdigest()
    name = f"ob-{date:%Y%m%d}-{request.symbol}-{request.leg}-{request.revision}-{digest[:12]}"
    if request.client_order_id == name:
        return []
    return [("I01", f"{request.client_order_id} does not follow from its intent")]


def not_again(truth: Truth, process: str, request: OrderRequest) -> Violations:
    """I01: who was told that the broker has an order does not write it a second time."""
    if (process, request.client_order_id) in truth.answered:
        return [("I01", f"{request.client_order_id} was written again after a yes")]
    return []


def latch_allows(directory: Path, db: sqlite3.Connection, request: OrderRequest) -> Violations:
    """I06: nothing leaves while the latch is engaged, in the file or in the row."""
    if latch_is_engaged(directory):
        return [("I06", f"{request.client_order_id} left while the latch was engaged")]
    row = db.execute("SELECT latch_is_engaged FROM risk_state").fetchone()
    if row["latch_is_engaged"]:
        return [("I06", f"{request.client_order_id} left while the latch's row was engaged")]
    return []


def state_allows(truth: Truth, db: sqlite3.Connection, request: OrderRequest) -> Violations:
    """I04, I09: only what lowers exposure leaves for a locked symbol or while reducing."""
    state = db.execute("SELECT trading_state FROM risk_state").fetchone()["trading_state"]
    lock = db.execute(
        "SELECT reason FROM symbol_locks WHERE symbol = ?", (request.symbol,)
    ).fetchone()
    is_exit = closes_only(truth, request)
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
    if not (limit.is_finite() and limit > 0 and limit % (Decimal("0.01")) == 0):
        found.append(("I10", f"{order_id} has limit {limit}"))
    close = truth.market.close_before(request.symbol, request.session_date)
    if request.leg == "entry" and request.symbol == truth.halted:
        found.append(("I10", f"{order_id} opens a position in a halted symbol"))
    if request.leg == "entry" and request.decision_price != close:
        found.append(("I10", f"{order_id} was decided on {request.decision_price}, not on {close}"))
    is_entry = request.leg == "entry"
    collar = limits.price_collar_pct if is_entry else limits.exit_collar_pct
    # What is sold during the session goes by the price of that minute.
    now = truth.now()
    recent = [truth.market.price(request.symbol, now - one) for one in _RECENTLY]
    near = [close] if is_entry else [close, *recent]
    adverse = min((limit - price) * request.side.sign * 100 / price for price in near)
    if not adverse <= collar + Decimal("0.001"):
        found.append(("I10", f"{order_id} limit {limit} is {adverse:.2f} % beyond close {close}"))
    return found


def within_limits(
    truth: Truth, db: sqlite3.Connection, request: OrderRequest, limits: Any
) -> Violations:
    """I08: the limits hold even if every order that may be working fills."""
    found: Violations = []
    order_id = request.client_order_id
    price = request.limit_price or request.decision_price
    notional = request.quantity * price
    is_over = request.quantity > truth.positions.get(request.symbol, _ZERO)
    if request.side is Side.SELL and is_over and not hand_traded(truth, request.symbol):
        found.append(("I08", f"{order_id} sells more than is held"))
    if request.side is Side.SELL:
        return found
    if not notional <= limits.max_order_notional_usd:
        found.append(("I08", f"{order_id} is worth {notional}"))
    found += _within_the_day(db, request, limits)
    equity = truth.equity()
    worst = _worst_case(truth, db)
    mine = worst.get(request.symbol, _ZERO)
    # The gate works on the last close and on an equity some minutes old: one per cent of room.
    room = Decimal("1.01")
    close = truth.market.close_before(request.symbol, request.session_date)
    held = truth.positions.get(request.symbol, _ZERO) * close
    if not held + mine <= equity * limits.max_position_pct / 100 * room and not hand_traded(
        truth, request.symbol
    ):
        found.append(("I08", f"{order_id} may take {request.symbol} to {held + mine} of {equity}"))
    longs = sum(
        (
            quantity * truth.market.close_before(symbol, request.session_date)
            for symbol, quantity in truth.positions.items()
        ),
        _ZERO,
    )
    gross = longs + sum(worst.values(), _ZERO)
    if not gross <= equity * limits.max_gross_pct / 100 * room and not truth.hand_trades:
        found.append(("I08", f"{order_id} may take gross to {gross} of {equity}"))
    return found


def _within_the_day(db: sqlite3.Connection, request: OrderRequest, limits: Any) -> Violations:
    rows = db.execute(
        "SELECT quantity, limit_price FROM orders WHERE session_date = ? AND leg = 'entry'"
        " AND is_external = 0 AND state NOT IN ('planned', 'approved', 'denied', 'skipped')",
        (request.session_date.isoformat(),),
    ).fetchall()
    spent = sum((Decimal(row[0]) * Decimal(row[1]) for row in rows), _ZERO)
    if len(rows) > limits.max_orders_per_day:
        return [("I08", f"{len(rows)} entries in a day: {request.client_order_id}")]
    if spent > limits.max_notional_per_day_usd:
        return [("I08", f"entries of {spent} in a day: {request.client_order_id}")]
    return []


def hand_traded(truth: Truth, symbol: str) -> bool:
    # A person who trades in the same minutes races the gate; that is named, not ours.
    return any(name == symbol and truth.loop.moment - at < 1200 for at, name in truth.hand_trades)


def _worst_case(truth: Truth, db: sqlite3.Connection) -> dict[str, Decimal]:
    """Return the USD by symbol of all buys that may still fill, at the broker or on the way."""
    found: dict[str, Decimal] = {}
    seen = set()
    for order in truth.orders.values():
        seen.add(order.client_id)
        if order.is_open and order.side is Side.BUY:
            price = order.limit or truth.price(order.symbol)
            found[order.symbol] = found.get(order.symbol, _ZERO) + order.left * price
    rows = db.execute(
        "SELECT * FROM orders WHERE state IN ('sending', 'unknown', 'abandoned') AND side = 'buy'"
    )
    for row in rows:
        if row["client_order_id"] not in seen and row["limit_price"] is not None:
            worth = Decimal(row["quantity"]) * Decimal(row["limit_price"])
            found[row["symbol"]] = found.get(row["symbol"], _ZERO) + worth
    return found


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


def one_chain(truth: Truth) -> Violations:
    """I01: at most one accepted order for each id of ours, and never more shares than meant."""
    ids = Counter(
        order.client_id for order in truth.orders.values() if order.client_id.startswith("ob-")
    )
    found = [("I01", f"{name} was accepted {n} times") for name, n in ids.items() if n > 1]
    for order in truth.orders.values():
        if order.filled > order.quantity and order.client_id not in truth.overfilled:
            found.append(("I01", f"{order.client_id} filled {order.filled} of {order.quantity}"))
    return found


def canary(truth: Truth) -> Violations:
    """I00: a rule that is wrong: whoever runs with it and sees no violation is blind."""
    return [("I00", f"{one.client_id} was executed") for one in truth.executions[:1]]


def intents_match(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I01, I02: what the broker accepted is what the journal meant."""
    found: Violations = []
    rows = {row["client_order_id"]: row for row in db.execute("SELECT * FROM orders")}
    for order in truth.orders.values():
        row = rows.get(order.client_id)
        if not order.client_id.startswith("ob-") or "-flatten" in order.client_id or row is None:
            continue
        if Decimal(row["quantity"]) != order.quantity or row["side"] != order.side.value:
            found.append(("I01", f"{order.client_id} is not what the journal meant"))
    for name, row in rows.items():
        if row["broker_order_id"] is None or name.startswith("twin-"):
            continue
        theirs = truth.orders.get(row["broker_order_id"])
        if theirs is None or theirs.client_id != name:
            found.append(("I01", f"{name} stands for {row['broker_order_id']}, which is another"))
    return found


def every_fill_once(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I03: the ledger's executions are the broker's, each once."""

    def of_broker(one: Execution) -> tuple[Any, ...]:
        return (one.broker_id, one.cumulative.normalize(), one.quantity.normalize(), one.price)

    theirs = Counter(of_broker(one) for one in truth.executions)
    ours = Counter(
        (
            row["broker_order_id"],
            Decimal(row["cumulative_quantity"]).normalize(),
            Decimal(row["quantity"]).normalize(),
            Decimal(row["price"]),
        )
        for row in db.execute("SELECT * FROM fills WHERE reversed_seq IS NULL")
    )
    found = [("I03", f"the ledger lacks {one}") for one in (theirs - ours)]
    return found + [("I03", f"the ledger invented {one}") for one in (ours - theirs)]


def never_invented(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I03 at any moment: nothing is booked that did not happen."""
    return [one for one in every_fill_once(truth, db) if "invented" in one[1]]


def same_holdings(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I04: share for share; where shares came without a word the symbol is locked."""
    locked = {row["symbol"] for row in db.execute("SELECT symbol FROM symbol_locks")}
    unlocked = sorted(truth.unexplained - locked)
    if unlocked:
        return [("I04", f"{', '.join(unlocked)}: a break that lasts and no lock")]
    ours = {
        row["symbol"]: Decimal(row["quantity"])
        for row in db.execute("SELECT symbol, quantity FROM positions")
        if Decimal(row["quantity"]) and row["symbol"] not in truth.unexplained
    }
    theirs = {
        str(symbol): quantity
        for symbol, quantity in truth.positions.items()
        if quantity and symbol not in truth.unexplained
    }
    if ours == theirs:
        return []
    return [("I04", f"the ledger holds {_told(ours)}, the broker {_told(theirs)}")]


def agreeing(truth: Truth, db: sqlite3.Connection) -> set[Symbol]:
    """Return the symbols of which the books hold what the broker holds."""
    rows = db.execute("SELECT symbol, quantity FROM positions")
    ours = {row["symbol"]: Decimal(row["quantity"]) for row in rows}
    return {symbol for symbol, held in truth.positions.items() if ours.get(symbol, _ZERO) == held}


def no_lock_left(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I16: once the books agree, no symbol stays locked."""
    return [
        ("I16", f"{row['symbol']} is still locked: {row['reason']}")
        for row in db.execute("SELECT * FROM symbol_locks ORDER BY symbol")
        if row["symbol"] not in truth.unexplained
    ]


def _told(holdings: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {holdings[symbol]}" for symbol in sorted(holdings)) or "nothing"


def same_cash(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I05: to the cent."""
    row = db.execute("SELECT amount FROM balances WHERE name = 'cash'").fetchone()
    ours = Decimal(row["amount"]) if row else _ZERO
    if ours == truth.cash:
        return []
    return [("I05", f"the ledger has {ours} in cash, the broker {truth.cash}")]


def runs_once(db: sqlite3.Connection, dates: list[str]) -> Violations:
    """I11: every run of every finished session has exactly one row, and an end."""
    found: Violations = []
    rows = Counter(
        (row["session_date"], row["kind"], row["state"]) for row in db.execute("SELECT * FROM runs")
    )
    for date in dates:
        for kind in _RUNS:
            states = [state for (day, name, state) in rows if (day, name) == (date, kind)]
            if len(states) != 1:
                found.append(("I11", f"{date} {kind} has {len(states)} rows"))
            elif states[0] == "RUNNING":
                found.append(("I11", f"{date} {kind} never ended"))
    return found


def first_session(db: sqlite3.Connection) -> str | None:
    """Return the first session of which any run is written down."""
    found: str | None = db.execute("SELECT min(session_date) FROM runs").fetchone()[0]
    return found


def runs_end_once(db: sqlite3.Connection) -> Violations:
    """I11: what a run came to is never written a second time."""
    rows = db.execute(
        "SELECT json_extract(payload, '$.run_id') AS run_id, count(*) AS n FROM events"
        " WHERE kind = 'run.finished' GROUP BY 1 HAVING n > 1 ORDER BY 1"
    )
    return [("I11", f"{row['run_id']} ended {row['n']} times") for row in rows]


def flows_named(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I09: the high-water mark knows every deposit and withdrawal, and nothing else."""
    ours = sum((Decimal(row["amount"]) for row in db.execute("SELECT * FROM cash_flows")), _ZERO)
    paid = [entry for entry in truth.log if entry[1] == "paid"]
    theirs = sum((Decimal(e[3]) for e in paid if e[2].startswith("transfer")), _ZERO)
    # What came before the books were opened is in their opening balance.
    early = sum((Decimal(e[3]) for e in paid if e[2].startswith("transfer") and e[0] == 0.0), _ZERO)
    if ours in {theirs, theirs - early}:
        return []
    return [("I09", f"flows of {ours} are named, {theirs} happened")]


def closes_only(truth: Truth, request: OrderRequest) -> bool:
    """Tell whether an order can only close what the broker holds: shares, or an oversold rest."""
    held = truth.positions.get(request.symbol, _ZERO)
    return held * request.side.sign < 0 and request.quantity <= abs(held)


def paused(directory: Path, truth: Truth, request: OrderRequest) -> Violations:
    """I09: no entry leaves while a person has paused entries."""
    is_exit = request.side is Side.SELL or closes_only(truth, request)
    if is_exit or not (directory / "PAUSE").exists():
        return []
    return [("I09", f"{request.client_order_id} left while entries are paused")]


class OrderHistory:
    """I03: what an order reached is never taken back, not even between two looks."""

    _ENDED = frozenset({"filled", "canceled", "expired"})
    _TOLD = (
        "SELECT seq, payload FROM events WHERE seq > ?"
        " AND kind IN ('order.reported', 'order.moved') ORDER BY seq"
    )

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Decimal]] = {}
        self._sequence = 0

    def check(self, db: sqlite3.Connection) -> Violations:
        """Follow every order through the log, from where the last check ended."""
        found: Violations = []
        for row in db.execute(self._TOLD, (self._sequence,)):
            self._sequence = row["seq"]
            told = json.loads(row["payload"])
            name, state = told["client_order_id"], told["state"]
            before, most = self._seen.get(name, ("", _ZERO))
            filled = Decimal(told.get("filled_quantity", most))
            if before in self._ENDED and state not in self._ENDED:
                found.append(("I03", f"{name} went back from {before} to {state}"))
            if filled < most:
                found.append(("I03", f"{name} fell from {most} to {filled} filled"))
            self._seen[name] = (state, filled)
        return found


def loss_halts(truth: Truth, db: sqlite3.Connection, limits: Any, since: float) -> Violations:
    """I09: what the daemon read for minutes beyond a loss limit has engaged the latch."""
    read = [Decimal(e[2]) for e in truth.log[-200:] if e[1] == "equity" and e[0] > since]
    row = db.execute("SELECT high_water_mark FROM risk_state").fetchone()
    if len(read) < 3 or row["high_water_mark"] is None:
        return []
    mark = Decimal(row["high_water_mark"])
    best = max(read)
    fall = (mark - best) * 100 / mark
    if fall >= limits.max_drawdown_pct + _MARGIN:
        return [("I09", f"a drawdown of {fall:.2f} % was read and the latch is not engaged")]
    date = truth.session.date.isoformat() if truth.session is not None else ""
    start = db.execute(
        "SELECT start_equity, started_at FROM sessions WHERE session_date = ?", (date,)
    ).fetchone()
    if start is None:
        return []
    booked = db.execute("SELECT amount FROM cash_flows WHERE booked_at > ?", (start["started_at"],))
    flows = sum((Decimal(row["amount"]) for row in booked), _ZERO)
    begun = Decimal(start["start_equity"]) + flows
    loss = (begun - best) * 100 / begun
    if loss >= limits.max_daily_loss_pct + _MARGIN:
        return [("I09", f"a loss of {loss:.2f} % was read and the latch is not engaged")]
    return []


def runs_in_time(db: sqlite3.Connection, due: Mapping[tuple[str, str], Any]) -> Violations:
    """I11: a daemon that was there did not miss a run."""
    return [
        ("I11", f"{row['run_id']} was missed while the daemon was up: {row['reason']}")
        for row in db.execute(_MISSED)
        if (row["session_date"], row["kind"]) in due
    ]


def runs_on_time(db: sqlite3.Connection, due: Mapping[tuple[str, str], dt.datetime]) -> Violations:
    """I11: a daemon that was there began each run at its time, by New York's clock."""
    found: Violations = []
    for row in db.execute("SELECT * FROM runs ORDER BY run_id"):
        expected = due.get((row["session_date"], row["kind"]))
        if expected is None:
            continue
        late = (dt.datetime.fromisoformat(row["started_at"]) - expected).total_seconds()
        if not -1 <= late <= _LATEST_RUN:
            found.append(("I11", f"{row['run_id']} began {late:.0f} s after its time"))
    return found


def entries_ended(truth: Truth) -> Violations:
    """I11: long after the cut-off no entry of ours is open any more."""
    return [
        ("I11", f"{order.client_id} is still {order.status} long after the cut-off")
        for order in truth.open_orders()
        if order.client_id.startswith("ob-") and "-entry-" in order.client_id
    ]


def halt_has_cause(truth: Truth, db: sqlite3.Connection, reason: str, limits: Any) -> Violations:
    """I09: who halts for a loss has had one; money that was drawn out and booked is none."""
    paid = [(e[0], Decimal(e[3])) for e in truth.log if e[1] == "paid" and "transfer" in e[2]]
    known = db.execute("SELECT count(*) FROM cash_flows").fetchone()[0]
    if known < len(paid):
        # Not booked yet: to stop is the right error.
        return []
    read = [(e[0], Decimal(e[2])) for e in truth.log if e[1] == "equity"]
    net = []
    for at, equity in read:
        drawn = sum((amount for when, amount in paid if when <= at), _ZERO)
        net.append((at, equity - drawn))
    if not net or truth.session is None:
        return []
    begun = truth.clock.loop_time(truth.session.open) - _NIGHT
    peaks = {"drawdown": net, "daily loss": [one for one in net if one[0] >= begun] or net}
    bounds = {"drawdown": limits.max_drawdown_pct, "daily loss": limits.max_daily_loss_pct}
    found: Violations = []
    for name, seen in peaks.items():
        fall = (max(value for _, value in seen) - net[-1][1]) * 100 / read[-1][1]
        if f"{name} " in reason and fall < bounds[name] * _LEAST:
            found.append(("I09", f"halted for a {name} of {fall:.2f} %: {reason}"))
    return found


def taken_is_taken(truth: Truth, db: sqlite3.Connection) -> Violations:
    """I16: no order that the broker took is one that never got there, by our journal."""
    states = {row["client_order_id"]: row["state"] for row in db.execute("SELECT * FROM orders")}
    return [
        ("I16", f"{order.client_id} is {order.status} at the broker and {ours} here")
        for order in truth.orders.values()
        if (ours := states.get(order.client_id)) in {"denied", "skipped", "rejected"}
        and order.status != "rejected"
    ]


def settled(db: sqlite3.Connection) -> Violations:
    """I16: no order is in doubt, and the trading state is one of the known ones."""
    found = [
        ("I16", f"{row['client_order_id']} is still {row['state']}")
        for row in db.execute(
            "SELECT * FROM orders WHERE state IN ('planned', 'approved', 'sending', 'unknown')"
        )
    ]
    row = db.execute("SELECT trading_state FROM risk_state").fetchone()
    state = row["trading_state"] if row is not None else "none: the books were never begun"
    if state not in {"ACTIVE", "REDUCING", "HALTED"}:
        found.append(("I16", f"trading state {state}"))
    return found


def mark_of(db: sqlite3.Connection) -> Decimal | None:
    """Return the high-water mark less all named cash flows: it must never fall."""
    row = db.execute("SELECT high_water_mark FROM risk_state").fetchone()
    if row is None or row["high_water_mark"] is None:
        return None
    flows = sum(
        (Decimal(one["amount"]) for one in db.execute("SELECT amount FROM cash_flows")), _ZERO
    )
    return Decimal(row["high_water_mark"]) - flows


class EventLog:
    """I17: what was committed stays, in order, under its hash."""

    def __init__(self) -> None:
        self._sequence = 0
        self._hash = ""
        self._promised: dict[int, str] = {}

    def promise(self, sequence: int, digest: str) -> None:
        """Remember what the store believed to be durable when it returned from a commit."""
        self._promised[sequence] = digest

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear every move of the high-water mark outside the database."""
        plain = Mark.write

        def heard(mark: Mark, sequence: int, digest: str) -> None:
            self.promise(sequence, digest)
            plain(mark, sequence, digest)

        with mock.patch.object(Mark, "write", heard):
            yield

    def check(self, db: sqlite3.Connection) -> Violations:
        """Compare with what was seen before, and walk what is new."""
        found: Violations = []
        self._promised.pop(0, None)
        for sequence, digest in self._promised.items():
            row = db.execute("SELECT hash FROM events WHERE seq = ?", (sequence,)).fetchone()
            if row is None or row["hash"] != digest:
                found.append(("I17", f"event {sequence} was acknowledged and is not there"))
        self._promised.clear()
        if self._sequence:
            row = db.execute("SELECT hash FROM events WHERE seq = ?", (self._sequence,)).fetchone()
            if row is None or row["hash"] != self._hash:
                found.append(("I17", f"event {self._sequence} is not what it was"))
        rows = db.execute(
            "SELECT seq, prev_hash, hash FROM events WHERE seq > ? ORDER BY seq", (self._sequence,)
        )
        for row in rows:
            is_next = row["seq"] == self._sequence + 1
            if not is_next or (self._hash and row["prev_hash"] != self._hash):
                found.append(("I17", f"event {row['seq']} does not follow {self._sequence}"))
            self._sequence, self._hash = row["seq"], row["hash"]
        return found

    @property
    def digest(self) -> str:
        """Return the hash of the last event seen."""
        return self._hash


def dump(db: sqlite3.Connection, tables: tuple[str, ...]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the content of tables."""
    return {
        table: sorted((tuple(row) for row in db.execute(f"SELECT * FROM {table}")), key=repr)  # noqa: S608
        for table in tables
    }


def account_bridge(truth: Truth, report: Any) -> Violations:
    """I14: the report's figure is the broker's, and no residual is called reconciled."""
    found: Violations = []
    served = {Decimal(entry[2]) for entry in truth.log if entry[1] == "equity"}
    if report.bridge.equity_end not in served:
        found.append(("I14", f"the report's equity {report.bridge.equity_end} was never read"))
    parts = (
        report.bridge.realized_pnl
        + report.bridge.unrealized_pnl_change
        - report.bridge.fees
        + report.bridge.dividends
        + report.bridge.interest
        + report.bridge.transfers
        + report.bridge.other
    )
    residual = report.bridge.equity_end - report.bridge.equity_start - parts
    if report.is_reconciled and residual != 0:
        found.append(("I14", f"called reconciled with a residual of {residual}"))
    return found


def adds_up(truth: Truth) -> Violations:
    """The simulated broker's own cash, computed a second way: a judge must be judged."""
    moved = sum((one.quantity * one.price * -one.side.sign for one in truth.executions), _ZERO)
    paid = sum((Decimal(entry[3]) for entry in truth.log if entry[1] == "paid"), _ZERO)
    if START_CASH + moved + paid == truth.cash:
        return []
    return [("X03", "the simulated broker's own cash does not add up")]


def bounded(truth: Truth) -> Violations:
    """I20: requests of one process in a minute, and writes of one order, have a ceiling."""
    found: Violations = []
    if truth.busiest > MOST_REQUESTS:
        found.append(("I20", f"{truth.busiest} requests in one minute"))
    writes = Counter(entry[3] for entry in truth.log if entry[1] == "wire")
    return found + [
        ("I20", f"{name} was written {n} times") for name, n in writes.items() if n > MOST_WRITES
    ]
