# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""Executions, money and holdings, and what is believed about them."""

from tests.simulation.planted_bugs.bug import bug

_MATCHING = "execution/matching.py"
_STATES = "state/order_states.py"
_JOURNAL = "state/journal.py"
_RECONCILE = "execution/reconcile.py"
_VIEW = "execution/broker_view.py"
_LEDGER = "state/ledger.py"
_FILLS = "state/fill_book.py"

BUGS = (
    bug(
        "fee-sign",
        (
            _LEDGER,
            "                Change(cash=cash),\n",
            "                Change(cash=abs(cash)),\n",
        ),
    ),
    bug(
        "dividends-dropped",
        (
            _LEDGER,
            "        if activity.kind is ActivityKind.FILL:\n",
            "        if activity.kind is ActivityKind.DIVIDEND:\n            return False\n"
            "        if activity.kind is ActivityKind.FILL:\n",
        ),
    ),
    bug(
        "splits-dropped",
        (
            _LEDGER,
            "            self._book_split(symbol, activity)\n",
            "            return\n",
        ),
    ),
    bug(
        "no-dedupe-across-channels",
        (
            _FILLS,
            "        return *self._find_in_order(fill), False\n",
            "        return Match.NONE, None, False\n",
        ),
    ),
    bug(
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
    bug(
        "sell-books-as-buy-from-the-log",
        (
            _LEDGER,
            '            side=Side.BUY if activity.side.startswith("buy") else Side.SELL,\n',
            "            side=Side.BUY,\n",
        ),
    ),
    bug(
        "no-backfill",
        (
            _VIEW,
            "        booked, unbooked = await self.book_activities(since)\n",
            "        booked, unbooked = await self.book_activities(self._desk.clock.now())\n",
        ),
    ),
    bug(
        "backfill-without-overlap",
        (
            "execution/desk.py",
            "    overlap_seconds: float = 900.0\n",
            "    overlap_seconds: float = 0.0\n",
        ),
        # A break makes it look back further: that alone finds what the overlap would have.
        (
            _RECONCILE,
            "        self._looked_back_at = now\n        return True\n",
            "        return False\n",
        ),
    ),
    bug(
        "regression-believed",
        (_MATCHING, "    if order.filled_quantity < standing:\n", "    if False:\n"),
        (
            _MATCHING,
            "    if record.state.is_terminal and not order.state.is_terminal:\n",
            "    if False:\n",
        ),
        (_STATES, "    if current.is_terminal:\n", "    if False:\n"),
    ),
    bug(
        "filled-quantity-may-fall",
        (_MATCHING, "    if order.filled_quantity < standing:\n", "    if False:\n"),
        (
            _JOURNAL,
            '    is_newer = order.filled_quantity >= decimal(row["filled_quantity"])\n',
            "    is_newer = True\n",
        ),
    ),
    bug(
        "empty-positions-believed-and-adopted",
        (
            _RECONCILE,
            "        self._lock(reading, breaks)\n",
            "        for one in breaks:\n"
            "            if one.symbol is not None:\n"
            "                self._desk.ledger.adopt_position(\n"
            '                    one.symbol, reading.theirs.get(one.symbol, ZERO), ZERO, "auto")\n'
            "        self._lock(reading, breaks)\n",
        ),
    ),
    bug(
        "breaks-never-lock",
        (
            _RECONCILE,
            '            self._desk.lock(symbol, "; ".join(texts))\n',
            "            pass\n",
        ),
    ),
    bug(
        "locks-never-lifted",
        (
            _RECONCILE,
            "            self._desk.ledger.unlock(symbol)\n",
            "            pass\n",
        ),
    ),
    bug(
        "bust-compared-with-what-was-read-before",
        ("execution/updates.py", "            self.unread.add(symbol)\n", ""),
    ),
    bug(
        "stream-event-swallowed-on-error",
        (
            "execution/updates.py",
            "            self._read_instead(item)\n",
            "            pass\n",
        ),
        (
            _VIEW,
            "        booked, unbooked = await self.book_activities(since)\n",
            "        booked, unbooked = 0, []\n",
        ),
    ),
    bug(
        "rollback-of-the-log",
        (
            "state/store.py",
            '        connection.execute("COMMIT")\n',
            '        connection.execute("COMMIT" if connection.total_changes % 97 else "ROLLBACK")\n',
        ),
    ),
    bug(
        "activities-booked-twice",
        (
            _LEDGER,
            '                "SELECT 1 FROM ledger_entries WHERE activity_id = ?", (activity.activity_id,)\n',
            '                "SELECT 1 FROM ledger_entries WHERE activity_id = ? AND 1 = 0",\n'
            "                (activity.activity_id,),\n",
        ),
        (
            _LEDGER,
            "            activity_id=activity_id,\n            description=description,\n",
            "            description=description,\n",
        ),
    ),
    bug(
        "equal-executions-are-one",
        (
            "state/booking.py",
            "    start, booked_start = _start(new), _start(booked)\n",
            "    if (new.at, new.price, new.quantity) == (booked.at, booked.price, booked.quantity):\n"
            "        return Match.SAME\n"
            "    start, booked_start = _start(new), _start(booked)\n",
        ),
    ),
    bug(
        "transfer-counted-twice",
        (
            "execution/books.py",
            "                flows.record_cash_flow(activity.net_amount, activity.activity_id)\n",
            "                flows.record_cash_flow(activity.net_amount, activity.activity_id)\n"
            '                flows.record_cash_flow(activity.net_amount, f"{activity.at:%F}-transfer")\n',
        ),
    ),
    bug(
        "split-booked-twice",
        (
            _LEDGER,
            "        with self._store.transaction():\n            if self._store.row(\n",
            "        if activity.kind is ActivityKind.SPLIT:\n"
            '            name = f"{activity.activity_id}-{self._store.clock.now():%F-%H}"\n'
            "            activity = dataclasses.replace(activity, activity_id=name)\n"
            "        with self._store.transaction():\n            if self._store.row(\n",
        ),
        (_LEDGER, "import datetime as dt\n", "import dataclasses\nimport datetime as dt\n"),
    ),
    bug(
        "adopted-split-booked-on-top",
        (
            "state/adoptions.py",
            "    if adoption is None or not shares:\n",
            "    if adoption is None or shares:\n",
        ),
    ),
    bug(
        "fraction-keeps-its-cost",
        (
            _LEDGER,
            "        added, fraction = decimal(activity.quantity or ZERO), decimal(activity.fraction or ZERO)\n",
            "        added, fraction = decimal(activity.quantity or ZERO), ZERO\n",
        ),
        (
            "state/reversals.py",
            "            return pay_fraction(self.holding, entry.cash)\n",
            "            return Change(cash=entry.cash, realized_pnl=entry.cash)\n",
        ),
    ),
    bug(
        "adoption-adds-the-holding",
        (
            _LEDGER,
            "            added = exact_sum((decimal(quantity), -held.quantity))\n",
            "            added = decimal(quantity)\n",
        ),
    ),
    bug(
        "morning-believes-an-empty-list",
        (
            "execution/gathering.py",
            "        if not is_doubtful(by_symbol(positions.result()), account.result()):\n",
            "        if positions.result() is not None:\n",
        ),
    ),
    bug(
        "report-from-stale-equity",
        (
            "daemon/session/trading_day.py",
            "check(session, snapshot=True, seen=seen, priced=priced)\n",
            "check(session, seen=seen)\n",
        ),
    ),
    bug(
        "lock-told-at-each-look",
        (
            "execution/desk.py",
            "        if before != reason:\n            self.ledger.lock(",
            "        if reason:\n            self.ledger.lock(",
        ),
        (
            _RECONCILE,
            '            if not all(text in locked.get(symbol, "") for text in texts):\n',
            "            if texts:\n",
        ),
    ),
    bug(
        "order-for-an-amount-ends-the-daemon",
        ("domain/orders.py", "        if self.leg == EXTERNAL:\n            return\n", ""),
    ),
)
