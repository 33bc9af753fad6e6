# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""The bugs that are planted: what somebody might really write, one at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A bug as replacements of (file, old text, new text)."""

    name: str
    changes: tuple[tuple[str, str, str], ...]


def _bug(name: str, *changes: tuple[str, str, str]) -> Bug:
    return Bug(name=name, changes=changes)


_GATE = "execution/send_gate.py"
_SENDING = "execution/sending.py"
_MATCHING = "execution/matching.py"
_STATES = "state/order_states.py"
_JOURNAL = "state/journal.py"
_RECONCILE = "execution/reconcile.py"
_VIEW = "execution/broker_view.py"
_STAGES = "execution/kill_stages.py"
_LEDGER = "state/ledger.py"
_FILLS = "state/fill_book.py"

BUGS = (
    _bug(
        "send-before-commit",
        (
            "execution/orders.py",
            "                ids = self.stage(results, run_id)\n"
            "                self._desk.journal.mark_sending(*ids)\n",
            "                ids = self.stage(results, run_id)\n",
        ),
        (_GATE, "        self._check_journal(request)\n", ""),
    ),
    _bug(
        "gate-before-the-wait",
        (
            _GATE,
            "        return partial(self.check, request, cutoff=cutoff)\n",
            "        self.check(request, cutoff=cutoff)\n        return lambda: None\n",
        ),
        (_GATE, "from functools import partial\n", ""),
    ),
    _bug(
        "gate-does-not-read-the-latch",
        (
            "execution/desk.py",
            "            self.is_halted or self.latch.read().is_engaged"
            " or self.store.latch_row().is_engaged\n",
            "            self.is_halted\n",
        ),
    ),
    _bug(
        "gate-forgets-locks",
        (
            _GATE,
            "        lock = self._desk.ledger.locks().get(request.symbol)\n",
            "        lock = None\n",
        ),
        ("execution/context.py", "        locks=ledger.locks(),\n", "        locks={},\n"),
    ),
    _bug(
        "cut-off-ignored",
        (_GATE, "        if cutoff is not None and self", "        if cutoff is None and self"),
        (
            _SENDING,
            "        return cutoff is not None and moment > cutoff\n",
            "        return False\n",
        ),
    ),
    _bug(
        "latch-only-in-memory",
        (
            "execution/desk.py",
            "            self.latch.engage(reason, self.clock.now())\n",
            "            return\n            self.latch.engage(reason, self.clock.now())\n",
        ),
    ),
    _bug(
        "missing-latch-is-armed",
        (
            "state/latch.py",
            "    return LatchState(is_engaged=True, reason=reason, at=None, sequence=0)\n",
            "    return LatchState(is_engaged=False, reason=reason, at=None, sequence=0)\n",
        ),
    ),
    _bug(
        "nan-passes-as-equity",
        (
            "state/risk_state.py",
            "        if not (equity.is_finite() and equity > 0):\n",
            "        if equity.is_zero():\n",
        ),
    ),
    _bug(
        "high-water-mark-follows-equity",
        (
            "state/risk_state.py",
            "            if mark is None or equity > mark:\n",
            "            if mark is None or equity != mark:\n",
        ),
    ),
    _bug(
        "deposits-are-gains",
        (
            "execution/books.py",
            "            if is_new and activity.kind is ActivityKind.TRANSFER:\n",
            "            if is_new and activity.kind is ActivityKind.OTHER:\n",
        ),
    ),
    _bug(
        "loss-never-halts",
        (
            "daemon/session/monitor.py",
            "        if assessment.should_engage_latch:\n",
            "        if False:\n",
        ),
    ),
    _bug(
        "pause-ignored",
        (
            "state/pause.py",
            "            return self.path.read_text(",
            "            return None\n            return self.path.read_text(",
        ),
    ),
    _bug(
        "schedule-in-utc",
        (
            "daemon/schedule.py",
            "    cutoff = session.open + dt.timedelta(",
            "    submit = session.open.replace(hour=14, minute=20)\n"
            "    cutoff = session.open + dt.timedelta(",
        ),
    ),
    _bug(
        "fee-sign",
        (
            _LEDGER,
            "            cash=decimal(activity.net_amount),\n",
            "            cash=abs(decimal(activity.net_amount)),\n",
        ),
    ),
    _bug(
        "dividends-dropped",
        (
            _LEDGER,
            "        if activity.kind is ActivityKind.FILL:\n",
            "        if activity.kind is ActivityKind.DIVIDEND:\n            return False\n"
            "        if activity.kind is ActivityKind.FILL:\n",
        ),
    ),
    _bug(
        "splits-dropped",
        (
            _LEDGER,
            "        is_split = activity.kind is ActivityKind.SPLIT\n",
            "        if activity.kind is ActivityKind.SPLIT:\n            return False\n"
            "        is_split = activity.kind is ActivityKind.SPLIT\n",
        ),
    ),
    _bug(
        "no-dedupe-across-channels",
        (
            _FILLS,
            "        return *self._find_in_order(fill), False\n",
            "        return Match.NONE, None, False\n",
        ),
    ),
    _bug(
        "late-fill-ignored",
        (
            "execution/books.py",
            '        """Book one execution, in whatever state its order is."""\n',
            '        """Book one execution."""\n'
            "        known = self._desk.journal.get(fill.client_order_id)\n"
            "        if known is not None and known.state is OrderState.CANCELED:\n"
            "            return FillOutcome.DUPLICATE\n",
        ),
        (
            "execution/books.py",
            "            is_new = self._desk.ledger.apply_activity(activity)\n",
            "            is_new = activity.kind is not ActivityKind.FILL and ("
            "self._desk.ledger.apply_activity(activity))\n",
        ),
    ),
    _bug(
        "sell-books-as-buy-from-the-log",
        (
            _LEDGER,
            '            side=Side.BUY if activity.side.startswith("buy") else Side.SELL,\n',
            "            side=Side.BUY,\n",
        ),
    ),
    _bug(
        "no-backfill",
        (
            _VIEW,
            "        activities = await broker.activities(since)\n",
            "        activities = await broker.activities(self._desk.clock.now())\n",
        ),
    ),
    _bug(
        "backfill-without-overlap",
        (
            "execution/desk.py",
            "    overlap_seconds: float = 900.0\n",
            "    overlap_seconds: float = 0.0\n",
        ),
    ),
    _bug(
        "regression-believed",
        (_MATCHING, "    if order.filled_quantity < record.filled_quantity:\n", "    if False:\n"),
        (
            _MATCHING,
            "    if record.state.is_terminal and not order.state.is_terminal:\n",
            "    if False:\n",
        ),
        (_STATES, "    if current.is_terminal:\n", "    if False:\n"),
    ),
    _bug(
        "filled-quantity-may-fall",
        (_MATCHING, "    if order.filled_quantity < record.filled_quantity:\n", "    if False:\n"),
        (
            _JOURNAL,
            '    is_newer = order.filled_quantity >= decimal(row["filled_quantity"])\n',
            "    is_newer = True\n",
        ),
    ),
    _bug(
        "empty-positions-believed-and-adopted",
        (
            _RECONCILE,
            "        locked = self._lock(reading, breaks)\n",
            "        for one in breaks:\n"
            "            if one.symbol is not None:\n"
            "                self._desk.ledger.adopt_position(\n"
            '                    one.symbol, reading.theirs.get(one.symbol, ZERO), ZERO, "auto")\n'
            "        locked = self._lock(reading, breaks)\n",
        ),
    ),
    _bug(
        "breaks-never-lock",
        (
            _RECONCILE,
            '            self._desk.lock(symbol, "; ".join(texts))\n',
            "            pass\n",
        ),
    ),
    _bug(
        "locks-never-lifted",
        (
            _RECONCILE,
            "            self._desk.ledger.unlock(symbol)\n",
            "            pass\n",
        ),
    ),
    _bug(
        "unknown-orders-forgotten-at-start",
        (
            "execution/unknown.py",
            "_UNCLEAR = frozenset({OrderState.SENDING, OrderState.UNKNOWN})\n",
            "_UNCLEAR = frozenset({OrderState.UNKNOWN})\n",
        ),
        (
            _VIEW,
            "_IN_DOUBT = frozenset({OrderState.SENDING, OrderState.UNKNOWN, OrderState.ABANDONED})\n",
            "_IN_DOUBT = frozenset({OrderState.UNKNOWN, OrderState.ABANDONED})\n",
        ),
    ),
    _bug(
        "given-up-at-once",
        (
            _SENDING,
            "        if self._desk.journal.mark_unknown(request.client_order_id, problem):\n",
            "        if self._desk.journal.mark_rejected(request.client_order_id, problem):\n",
        ),
        (
            _STATES,
            "    return current is OrderState.REJECTED and not has_broker_id\n",
            "    return False\n",
        ),
    ),
    _bug(
        "crossed-answer-adopted",
        (_SENDING, "        if not wrong:\n", "        if True:\n"),
        (
            "execution/books.py",
            "        wrong = mismatches(record.request, order)\n",
            "        wrong: tuple[str, ...] = ()\n",
        ),
    ),
    _bug(
        "kill-says-verified-at-once",
        (
            _STAGES,
            "            if agreeing == _AGREEING_LOOKS:\n",
            "            if look is not None:\n",
        ),
        (
            "execution/cancel_all.py",
            "        if clock.monotonic() + wait >= until:\n",
            "        if asked:\n            return []\n        if clock.monotonic() + wait >= until:\n",
        ),
    ),
    _bug(
        "kill-forgets-the-broker-lock",
        (
            _STAGES,
            "        locked = await self._set_lock(is_locked=True)\n",
            "        locked = True\n",
        ),
    ),
    _bug(
        "closing-order-sent-again",
        (
            "execution/flatten.py",
            "            attempt.is_taken = True\n",
            "            pass\n",
        ),
    ),
    _bug(
        "no-single-writer",
        (
            "state/files.py",
            "            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
            "            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        ),
    ),
    _bug(
        "slept-through-sessions-vanish",
        ("daemon/lifecycle.py", "            await self._catch_up(session)\n", ""),
    ),
    _bug(
        "collar-too-wide",
        (
            "risk/book.py",
            "    return round_price(bound, is_buy=side is Side.BUY)\n",
            '    return round_price(bound * Decimal("1.03"), is_buy=side is Side.BUY)\n',
        ),
        (
            "risk/limits.py",
            "    adverse = request.side.sign * (request.limit_price - mark.price) * HUNDRED",
            "    adverse = 0 * (request.limit_price - mark.price) * HUNDRED",
        ),
    ),
    _bug(
        "stream-event-swallowed-on-error",
        (
            "execution/updates.py",
            "            self._read_instead(item)\n",
            "            pass\n",
        ),
        (
            _VIEW,
            "        activities = await broker.activities(since)\n",
            "        activities = []\n",
        ),
    ),
    _bug(
        "rollback-of-the-log",
        (
            "state/store.py",
            '        connection.execute("COMMIT")\n',
            '        connection.execute("COMMIT" if connection.total_changes % 97 else "ROLLBACK")\n',
        ),
    ),
    _bug(
        "new-id-on-retry",
        (
            _SENDING,
            "            order = await self._desk.broker.submit(request, guard=guard)\n",
            "            fields = {name: getattr(request, name) for name in request.__slots__}\n"
            "            if pause > 1:\n"
            '                fields["client_order_id"] = ClientOrderId(f"{order_id}-{pause:.0f}")\n'
            "            order = await self._desk.broker.submit(OrderRequest(**fields), guard=guard)\n",
        ),
    ),
    _bug(
        "ids-are-counted",
        (
            "domain/ids.py",
            "    digest = hashlib.sha256(seed.encode()).hexdigest()[:12]\n",
            '    _COUNT.append("")\n'
            '    digest = hashlib.sha256(f"{seed}{len(_COUNT)}".encode()).hexdigest()[:12]\n',
        ),
        (
            "domain/ids.py",
            'CLIENT_ORDER_ID_PREFIX = "ob"\n',
            'CLIENT_ORDER_ID_PREFIX = "ob"\n_COUNT: list[str] = []\n',
        ),
    ),
    _bug(
        "high-water-mark-resets-on-restart",
        (
            "daemon/session/monitor.py",
            "        self._last = (account, now)\n",
            "        if self._last is None:\n"
            '            payload = {"high_water_mark": str(account.equity), "at": now.isoformat()}\n'
            '            self._desk.store.append("risk.high_water_mark_moved", payload)\n'
            "        self._last = (account, now)\n",
        ),
    ),
    _bug(
        "activities-booked-twice",
        (
            _LEDGER,
            '                "SELECT 1 FROM ledger_entries WHERE activity_id = ?", (activity_id,)\n',
            '                "SELECT 1 FROM ledger_entries WHERE activity_id = ? AND 1 = 0",\n'
            "                (activity_id,),\n",
        ),
        (
            _LEDGER,
            "                activity_id=activity_id,\n                description=description,\n",
            "                description=description,\n",
        ),
    ),
    _bug(
        "equal-executions-are-one",
        (
            "state/booking.py",
            "    start, booked_start = _start(new), _start(booked)\n",
            "    if (new.at, new.price, new.quantity) == (booked.at, booked.price, booked.quantity):\n"
            "        return Match.SAME\n"
            "    start, booked_start = _start(new), _start(booked)\n",
        ),
    ),
    _bug(
        "kill-without-the-latch",
        (
            "execution/kill.py",
            "        latch.engage(reason, clock.now(), pending=action)\n",
            "        latch.read()\n",
        ),
    ),
    _bug(
        "half-day-ignored",
        (
            "daemon/schedule.py",
            "    end = session.close + dt.timedelta(minutes=schedule.eod_minutes_after_close)\n",
            "    end = session.open + dt.timedelta(minutes=390 + schedule.eod_minutes_after_close)\n",
        ),
    ),
    _bug(
        "cut-off-cancels-nothing",
        (
            "daemon/session/trading_day.py",
            "            if record.request.leg == ENTRY and not record.is_external\n",
            "            if record.request.leg == ENTRY and record.is_external\n",
        ),
    ),
    _bug(
        "naive-midnight",
        (
            "state/risk_state.py",
            '            "SELECT amount FROM cash_flows WHERE booked_at >"\n'
            '            " (SELECT started_at FROM sessions WHERE session_date = ?)",\n',
            '            "SELECT amount FROM cash_flows WHERE booked_at > ?",\n',
        ),
    ),
    _bug(
        "retained-command-obeyed",
        ("daemon/telemetry/commands.py", "        if is_retained:\n", "        if False:\n"),
    ),
    _bug(
        "forged-command-obeyed",
        (
            "daemon/telemetry/commands.py",
            "            except InvalidSignature:\n                continue\n",
            "            except InvalidSignature:\n                return\n",
        ),
    ),
    _bug(
        "old-command-obeyed",
        (
            "daemon/telemetry/commands.py",
            "        if not abs(age) <= FRESH_SECONDS:\n",
            "        if age < -FRESH_SECONDS:\n",
        ),
    ),
    _bug(
        "command-obeyed-twice",
        ("daemon/telemetry/nonces.py", "        if nonce in self._used:\n", "        if False:\n"),
    ),
    _bug(
        "gate-sees-no-holdings",
        (
            "execution/context.py",
            "        positions={symbol: held.quantity for symbol, held in ledger.positions().items()},\n",
            "        positions={},\n",
        ),
        ("risk/sizing.py", "    held = book.held(symbol)\n", "    held = ZERO\n"),
    ),
)
