"""Protective stops: what fell far enough is being sold, or it is told why not.

Nothing that is in dispute is sold.
"""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from domain.ids import Symbol
from domain.market import Session
from domain.orders import OrderRequest, Side
from risk.settings import RiskLimits
from tests.simulation.checkers.evidence import ZERO, Violations
from tests.simulation.truth import Truth

# Reads of the holdings at one price after which a daemon has seen it.
_READS = 4
# Seconds after an execution at which the books surely have it.
_BOOKED = 1500.0
# How far beyond its stop a price is surely beyond it.
_MARGIN = Decimal("0.3")


def stop_is_ours_to_sell(truth: Truth, db: sqlite3.Connection, request: OrderRequest) -> Violations:
    """I04: no stop sells a holding of which the books and the broker have other numbers."""
    if "stop:" not in request.reason or request.symbol not in truth.unexplained:
        return []
    row = db.execute(
        "SELECT quantity FROM positions WHERE symbol = ?", (request.symbol,)
    ).fetchone()
    ours = Decimal(row["quantity"]) if row is not None else ZERO
    if ours == truth.positions.get(request.symbol, ZERO):
        return []
    return [("I04", f"{request.client_order_id} is a stop for what is in dispute")]


class StopWatch:
    """I09: what a daemon sees at its stop, look after look, it sells, or says why it cannot.

    Left out are holdings that the broker's log alone does not explain: shares that came or
    went without a word, splits, trades by hand, executions that were taken back.
    """

    def __init__(self, truth: Truth, sessions: Sequence[Session]) -> None:
        self._truth = truth
        self._sessions = sessions

    def check(
        self,
        db: sqlite3.Connection,
        process: str,
        limits: RiskLimits,
        look_seconds: float,
        alerts: Sequence[tuple[float, str, str]],
    ) -> Violations:
        """Judge every holding by what the process has seen lately, and what was told."""
        now = self._truth.loop.moment
        # A look takes a moment longer than the pause between two.
        since = now - max((_READS + 1) * look_seconds, 1200.0)
        reads = [e for e in self._truth.log if e[1] == "positions"]
        mine = [e[0] for e in reads if e[2] == process and e[0] >= since]
        session = self._truth.session
        if session is None or len(mine) < _READS or mine[0] > since + 2 * look_seconds:
            return []
        opened = self._truth.clock.loop_time(session.open)
        if since < opened:
            return []
        told = {text.partition(":")[0] for at, kind, text in alerts if _is_denial(kind, at, opened)}
        return [
            found
            for symbol, held in sorted(self._truth.positions.items())
            if held > 0 and self._is_plain(symbol) and not self._is_seen_to(db, symbol, since)
            if not (symbol in told and _is_full(db, session, symbol, limits))
            for found in self._judge(db, symbol, limits, mine, [e[0] for e in reads])
        ]

    def _judge(
        self,
        db: sqlite3.Connection,
        symbol: Symbol,
        limits: RiskLimits,
        mine: Iterable[float],
        reads: Iterable[float],
    ) -> Violations:
        cost = self._truth.cost[symbol] / self._truth.positions[symbol]
        price = max(self._price(symbol, at) for at in mine)
        lost = (cost - price) * 100 / cost
        if lost >= limits.stop_loss_pct + _MARGIN:
            return [("I09", f"{symbol} is {lost:.2f} % below its cost and nobody sells it")]
        best = self._best(db, symbol, reads)
        given_back = (best - price) * 100 / best if best else ZERO
        if given_back >= limits.trailing_stop_pct + _MARGIN:
            return [("I09", f"{symbol} is {given_back:.2f} % below its best and nobody sells it")]
        return []

    def _best(self, db: sqlite3.Connection, symbol: Symbol, reads: Iterable[float]) -> Decimal:
        """Return the best price that was surely seen since the holding has its cost."""
        # A sale leaves the cost of a share as it is.  Found as seed 1000092: a holding that the
        # books learn of a day later was in dispute until then, and is followed from then on.
        booked = db.execute(
            "SELECT booked_at FROM ledger_entries WHERE symbol = ?"
            " AND CAST(quantity AS REAL) > 0 ORDER BY booked_at DESC LIMIT 1",
            (symbol,),
        ).fetchone()
        executed = [one.at for one in self._executions(symbol) if one.side is Side.BUY]
        told = [dt.datetime.fromisoformat(booked[0])] if booked is not None else []
        bought = max(map(self._truth.clock.loop_time, [*executed, *told]))
        seen: dict[Decimal, list[float]] = {}
        for at in reads:
            if at > bought + _BOOKED and self._is_open(at):
                seen.setdefault(self._price(symbol, at), []).append(at)
        return max((price for price, at in seen.items() if len(at) > _READS), default=ZERO)

    def _price(self, symbol: Symbol, at: float) -> Decimal:
        moment = self._truth.now() - dt.timedelta(seconds=self._truth.loop.moment - at)
        return self._truth.market.price(symbol, moment)

    def _is_open(self, at: float) -> bool:
        loop_time = self._truth.clock.loop_time
        return any(loop_time(one.open) < at < loop_time(one.close) for one in self._sessions)

    def _executions(self, symbol: Symbol) -> list[Any]:
        return [one for one in self._truth.executions if one.symbol == symbol]

    def _is_plain(self, symbol: Symbol) -> bool:
        """Tell whether the daemon's own settled orders explain the holding."""
        truth, executions = self._truth, self._executions(symbol)
        strange = {e[2] for e in truth.log if e[1] == "slipped in"}
        split = {e[3] for e in truth.log if e[1] == "split"}
        amended = {one.was.symbol for one in truth.amendments}
        return (
            bool(executions)
            and not truth.is_untradable(symbol)
            and symbol not in strange | split | amended
            and all(one.client_id.startswith("ob-") for one in executions)
            and not any(one.client_id in truth.overfilled for one in executions)
            and truth.loop.moment - truth.clock.loop_time(executions[-1].at) > _BOOKED
        )

    def _is_seen_to(self, db: sqlite3.Connection, symbol: Symbol, since: float) -> bool:
        """Tell whether an order that closes it is, or was just, at work, or the books waited.

        An execution that was told just now moved the cost: found as seed 66000072.
        """
        moment = self._truth.now() - dt.timedelta(seconds=self._truth.loop.moment - since)
        row = db.execute(
            "SELECT count(*) FROM orders WHERE symbol = ? AND (filled_quantity <> booked_quantity"
            " OR side = 'sell' AND state <> 'denied' AND (is_working = 1 OR updated_at >= ?))",
            (symbol, moment.astimezone(dt.UTC).isoformat()),
        ).fetchone()
        told = db.execute(
            "SELECT count(*) FROM ledger_entries WHERE symbol = ? AND booked_at >= ?",
            (symbol, moment.astimezone(dt.UTC).isoformat()),
        ).fetchone()
        is_open = any(o.symbol == symbol for o in self._truth.open_orders())
        return bool(row[0] or told[0]) or is_open


def _is_denial(kind: str, at: float, opened: float) -> bool:
    return kind == "stop.denied" and at >= opened


def _is_full(db: sqlite3.Connection, session: Session, symbol: Symbol, limits: RiskLimits) -> bool:
    """Tell whether no exit of a symbol may leave any more today.

    One that left already leaves room for the first exit of each other holding.
    """
    sent = db.execute(
        "SELECT symbol, leg FROM orders WHERE session_date = ?"
        " AND state NOT IN ('planned', 'approved', 'denied', 'skipped')",
        (session.date.isoformat(),),
    ).fetchall()
    exited = {row["symbol"] for row in sent if row["leg"] == "exit"}
    held = {row[0] for row in db.execute("SELECT symbol FROM positions WHERE quantity <> '0'")}
    kept = len(held - exited) if symbol in exited else 0
    return len(sent) + kept >= limits.max_orders_per_day
