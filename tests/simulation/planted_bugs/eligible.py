"""What may not be opened, and what the end of a day may not forget."""

from tests.simulation.planted_bugs.bug import bug

_LIMITS = "risk/limits.py"
_REPORTING = "daemon/after_close/reporting.py"

BUGS = (
    bug(
        "sells-what-nobody-lends",
        (
            _LIMITS,
            "    if opens_short and not asset.is_shortable:\n",
            "    if opens_short and not asset.is_tradable:\n",
        ),
    ),
    bug(
        "opens-into-earnings",
        (
            _LIMITS,
            "    passed = told is None or is_exit or is_allowed\n",
            "    passed = True\n",
        ),
    ),
    bug(
        "opens-what-ends",
        (
            _LIMITS,
            "    passed = told is None or is_exit\n",
            "    passed = True\n",
        ),
    ),
    bug(
        "volume-is-no-limit",
        (
            _LIMITS,
            "    passed = request.quantity * HUNDRED <= limits.max_adv_pct * volume\n",
            "    passed = True\n",
        ),
        (
            "risk/sizing.py",
            "    return whole_shares(volume * book.limits.max_adv_pct / HUNDRED)\n",
            '    return Decimal("Infinity")\n',
        ),
    ),
    bug(
        "failed-report-forgotten",
        (
            _REPORTING,
            "        return run is not None and run.state is RunState.FAILED\n",
            "        return False\n",
        ),
    ),
    bug(
        "opening-cash-read-once",
        (
            "execution/reconcile.py",
            "        if (await self._desk.broker.account()).cash != account.cash:\n",
            "        if account.cash is None:\n",
        ),
    ),
    bug(
        "cash-that-does-not-fit-believed",
        (
            "execution/comparing.py",
            "        is_sound = is_seen and _adds_up(self.account, self.held)\n",
            "        is_sound = is_seen\n",
        ),
    ),
)
