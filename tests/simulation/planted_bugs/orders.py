# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""The order path: what leaves, how often, under which id, and who may send it."""

from tests.simulation.planted_bugs.bug import bug

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
            _GATE,
            "        return partial(self.check, request, cutoff=cutoff)\n",
            "        self.check(request, cutoff=cutoff)\n        return lambda: None\n",
        ),
        (_GATE, "from functools import partial\n", ""),
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
            "            if record.request.leg == ENTRY and not record.is_external\n",
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
)
