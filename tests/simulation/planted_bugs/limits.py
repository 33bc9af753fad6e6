# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""Gate, limits and stops: what should be refused, or sold, is not."""

from tests.simulation.planted_bugs.bug import bug

_STOPS = "daemon/session/stops.py"
_GATE = "execution/send_gate.py"

BUGS = (
    bug(
        "no-stop-without-equity",
        (
            "daemon/session/monitor.py",
            "            self._is_known = False\n            return\n        self._unusable",
            "            self._last, self._is_known = None, False\n            return\n        self._unusable",
        ),
    ),
    bug(
        "gate-forgets-locks",
        (
            _GATE,
            "        lock = self._desk.ledger.locks().get(request.symbol)\n",
            "        lock = None\n",
        ),
        ("execution/context.py", "        locks=ledger.locks(),\n", "        locks={},\n"),
    ),
    bug(
        "nan-passes-as-equity",
        (
            "state/risk_state.py",
            "        if not (equity.is_finite() and equity > 0):\n",
            "        if equity.is_zero():\n",
        ),
    ),
    bug(
        "high-water-mark-follows-equity",
        (
            "state/risk_state.py",
            "            if raises:\n",
            "            if mark is None or equity != mark:\n",
        ),
    ),
    bug(
        "high-water-mark-resets-on-restart",
        (
            "daemon/session/monitor.py",
            "        self._last = _Read(account=account, equity=equity, at=now, flows=look.flows)\n",
            "        if self._last is None:\n"
            '            payload = {"high_water_mark": str(account.equity), "at": now.isoformat()}\n'
            '            self._desk.store.append("risk.high_water_mark_moved", payload)\n'
            "        self._last = _Read(account=account, equity=equity, at=now, flows=look.flows)\n",
        ),
    ),
    bug(
        "deposits-are-gains",
        (
            "execution/books.py",
            "            if is_new and activity.kind is ActivityKind.TRANSFER:\n",
            "            if is_new and activity.kind is ActivityKind.OTHER:\n",
        ),
    ),
    bug(
        "naive-midnight",
        (
            "state/cash_flows.py",
            '    return flows_after(rows, started[0]["started_at"]) if started else Decimal(0)\n',
            "    return flows_after(rows, session_date)\n",
        ),
    ),
    bug(
        "loss-never-halts",
        (
            "daemon/session/monitor.py",
            "        if assessment.should_engage_latch:\n",
            "        if False:\n",
        ),
    ),
    bug(
        "pause-ignored",
        (
            "state/pause.py",
            "            return one_line(self.path.read_text(",
            "            return None\n            return one_line(self.path.read_text(",
        ),
    ),
    bug(
        "unbalanced-report-forgotten",
        (
            "execution/desk.py",
            "        if (report := Reports(self.store).unbalanced()) is not None:\n",
            "        if (report := Reports(self.store).unbalanced()) and False:\n",
        ),
    ),
    bug(
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
    bug(
        "gate-sees-no-holdings",
        (
            "execution/context.py",
            "        positions={symbol: held.quantity for symbol, held in ledger.positions().items()},\n",
            "        positions={},\n",
        ),
        ("risk/sizing.py", "    held = book.held(symbol)\n", "    held = ZERO\n"),
    ),
    bug(
        "one-order-a-day-too-many",
        (
            "risk/limits.py",
            "    count = context.orders_today + 1\n",
            "    count = context.orders_today\n",
        ),
    ),
    bug(
        "nan-clipped-to-the-most",
        (
            "daemon/session/monitor.py",
            "        try:\n            self._risk_state.record_equity(\n",
            "        equity = Decimal(str(max(0.01, min(1e9, float(equity)))))\n"
            "        try:\n            self._risk_state.record_equity(\n",
        ),
    ),
    bug(
        "limit-lock-lifted-early",
        (
            "execution/reconcile.py",
            "            if why.startswith(LIMIT_LOCK) and self._desk.over_limit(symbol, None):\n",
            "            if why.startswith(LIMIT_LOCK) and symbol in broken:\n",
        ),
    ),
    bug(
        "stops-sell-what-is-in-dispute",
        (
            _STOPS,
            "            and ours[position.symbol].quantity == position.quantity\n",
            "",
        ),
    ),
    bug(
        "stops-never-reached",
        (
            "risk/stops.py",
            "        if price is None or track.is_doubtful:\n",
            "        if price is None or not track.is_doubtful:\n",
        ),
    ),
    bug(
        "stops-sell-too-soon",
        (
            "risk/stops.py",
            "    if lost >= book.limits.stop_loss_pct:\n",
            "    if lost >= book.limits.stop_loss_pct / 2:\n",
        ),
    ),
    bug(
        "best-price-forgotten-on-restart",
        (
            "daemon/session/stop_tracks.py",
            '            rows = json.loads(self._facts.get(_FACT) or "{}")\n',
            "            rows: dict[str, list[str | bool]] = {}\n",
        ),
    ),
)
