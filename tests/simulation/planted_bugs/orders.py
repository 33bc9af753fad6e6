# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""The order path: what leaves, how often, under which id, and who may send it."""

from tests.simulation.planted_bugs.bug import bug

_JOURNAL = "state/journal.py"
_GATE = "execution/send_gate.py"
_SENDING = "execution/sending.py"
_STATES = "state/order_states.py"
_VIEW = "execution/broker_view.py"

BUGS = (
    bug(
        "send-before-commit",
        (
            "execution/orders.py",
            "                ids = self.stage(results, run_id)\n"
            "                self._desk.journal.mark_sending(*ids)\n",
            "                ids = self.stage(results, run_id)\n",
        ),
        (_GATE, "        self._check_journal(request)\n", ""),
    ),
    bug(
        "gate-before-the-wait",
        (
            _SENDING,
            "            guard = partial(self._guard, request, cutoff)\n"
            "            order = await self._desk.broker.submit(request, guard=guard)\n",
            "            self._guard(request, cutoff)\n"
            "            order = await self._desk.broker.submit(request, guard=lambda: None)\n",
        ),
        (_SENDING, "from functools import partial\n", ""),
    ),
    bug(
        "cut-off-ignored",
        (_GATE, "        if cutoff is not None and self", "        if cutoff is None and self"),
        (
            _SENDING,
            "        return cutoff is not None and moment > cutoff\n",
            "        return False\n",
        ),
    ),
    bug(
        "cut-off-cancels-nothing",
        (
            "daemon/session/trading_day.py",
            "        if record.request.leg == ENTRY and not record.is_external\n",
            "            if record.request.leg == ENTRY and record.is_external\n",
        ),
    ),
    bug(
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
    bug(
        "refused-resend-ends-the-doubt",
        (
            _SENDING,
            "            self._doubted.add(order_id)\n",
            "            self._doubted.discard(order_id)\n",
        ),
    ),
    bug(
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
    bug(
        "crossed-answer-adopted",
        (_SENDING, "        if not wrong:\n", "        if True:\n"),
        (
            "execution/books.py",
            "        wrong = mismatches(record.request, order)\n",
            "        wrong: tuple[str, ...] = ()\n",
        ),
    ),
    bug(
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
    bug(
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
    bug(
        "no-single-writer",
        (
            "state/files.py",
            "            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
            "            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        ),
    ),
    bug(
        "absent-once-is-absent",
        (
            "execution/evidence.py",
            "            misses.count >= settings.absence_reads\n"
            "            and now - misses.since >= settings.absence_seconds\n",
            "            misses.count >= 1 or now - misses.since >= settings.absence_seconds\n",
        ),
    ),
    bug(
        "cut-off-by-a-restart-is-not-sent",
        (
            "execution/unknown.py",
            '            self._desk.journal.mark_unknown(order_id, "no answer was recorded")\n',
            '            self._desk.journal.mark_not_sent(order_id, "no answer was recorded")\n'
            "            return\n",
        ),
    ),
    bug(
        "sent-again-after-the-cut-off",
        (
            "execution/unknown.py",
            "            and self._desk.clock.now() <= until\n",
            "",
        ),
        ("execution/unknown.py", "cutoff=self._until[order_id])", "cutoff=None)"),
    ),
    bug(
        "cancel-request-is-a-cancel",
        (
            _JOURNAL,
            '        return self._move(client_order_id, OrderState.CANCELING, "", {OrderState.LIVE})\n',
            '        return self._move(client_order_id, OrderState.CANCELED, "", {OrderState.LIVE})\n',
        ),
    ),
    bug(
        "partly-filled-is-ended",
        (
            _JOURNAL,
            '    is_newer = order.filled_quantity >= decimal(row["filled_quantity"])\n',
            '    if order.raw_status == "partially_filled":\n        state = OrderState.FILLED\n'
            '    is_newer = order.filled_quantity >= decimal(row["filled_quantity"])\n',
        ),
    ),
)
