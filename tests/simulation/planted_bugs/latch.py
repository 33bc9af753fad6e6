# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""Kill and latch: what should stop does not."""

from tests.simulation.planted_bugs.bug import bug

_STAGES = "execution/kill_stages.py"

BUGS = (
    bug(
        "gate-does-not-read-the-latch",
        (
            "execution/desk.py",
            "            self.is_halted or self.latch.read().is_engaged"
            " or self.store.latch_row().is_engaged\n",
            "            self.is_halted\n",
        ),
    ),
    bug(
        "latch-only-in-memory",
        (
            "execution/desk.py",
            "            self.latch.engage(reason, self.clock.now())\n",
            "            return\n            self.latch.engage(reason, self.clock.now())\n",
        ),
    ),
    bug(
        "missing-latch-is-armed",
        (
            "state/latch_record.py",
            "    return LatchState(is_engaged=True, reason=one_line(reason), at=None, sequence=0)\n",
            "    return LatchState(is_engaged=False, reason=one_line(reason), at=None, sequence=0)\n",
        ),
    ),
    bug(
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
    bug(
        "kill-forgets-the-broker-lock",
        (
            _STAGES,
            "        self._locked = await self._set_lock(is_locked=True)\n",
            "        self._locked = True\n",
        ),
        (
            _STAGES,
            "bool(self._locked) and (await self._broker.account()).is_suspended_by_user",
            "bool(self._locked)",
        ),
    ),
    bug(
        "closing-order-sent-again",
        (
            "execution/flatten.py",
            "            attempt.is_taken = True\n",
            "            pass\n",
        ),
    ),
    bug(
        "kill-without-the-latch",
        (
            "execution/kill.py",
            "        latch.engage(reason, clock.now(), pending=action)\n",
            "        latch.read()\n",
        ),
    ),
    bug(
        "send-gate-blind-to-the-latch",
        (
            "execution/send_gate.py",
            "        state = self._desk.effective_state()\n",
            "        state = self._desk.trading_state()\n",
        ),
    ),
    bug(
        "error-rate-never-halts",
        (
            "execution/desk.py",
            '            self.halt(f"error rate: {reason}; the last: {problem}")\n',
            '            self.note("order.errors", f"error rate: {reason}; the last: {problem}")\n',
        ),
    ),
    bug(
        "broker-lock-mismatch-ignored",
        (
            "execution/broker_lock.py",
            "        if found and found != self._facts.get(_FACT):\n",
            '        found = ""\n        if found and found != self._facts.get(_FACT):\n',
        ),
    ),
    bug(
        "kill-not-completed-at-start",
        (
            "execution/kill.py",
            "    return await stages.run(action)\n",
            "    return None\n",
        ),
    ),
    bug(
        "kill-from-afar-waits-for-the-books",
        (
            "daemon/telemetry/controls.py",
            "        self._cancel_soon(now, reason)\n        try:\n",
            "        try:\n",
        ),
        (
            "daemon/telemetry/controls.py",
            '        self._hub.alert("kill.engaged", reason)\n\n',
            "        self._desk.store.sync_latch(self._desk.latch)\n"
            "        self._cancel_soon(now, reason)\n\n",
        ),
    ),
    bug(
        "resume-without-agreement",
        (
            "execution/resume.py",
            "        if report.is_equal and not locks:\n",
            "        if report.is_equal or locks:\n",
        ),
    ),
    bug(
        "kill-gives-up-without-a-list",
        (
            "execution/unlisted.py",
            "            await self._broker.cancel_everything()\n",
            "            raise NotSent\n",
        ),
    ),
)
