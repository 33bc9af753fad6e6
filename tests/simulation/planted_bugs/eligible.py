"""What may not be opened, whatever is forecast."""

from tests.simulation.planted_bugs.bug import bug

_LIMITS = "risk/limits.py"

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
)
