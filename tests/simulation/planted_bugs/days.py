# ruff: noqa: ISC004, E501 - the text of other files, as it is
"""Schedule and messages: the wrong time, the wrong day, the wrong sender."""

from tests.simulation.planted_bugs.bug import bug

BUGS = (
    bug(
        "schedule-in-utc",
        (
            "daemon/schedule.py",
            "    cutoff = session.open + dt.timedelta(",
            "    submit = session.open.replace(hour=14, minute=20)\n"
            "    cutoff = session.open + dt.timedelta(",
        ),
    ),
    bug(
        "half-day-ignored",
        (
            "daemon/schedule.py",
            "    end = session.close + dt.timedelta(minutes=schedule.eod_minutes_after_close)\n",
            "    end = session.open + dt.timedelta(minutes=390 + schedule.eod_minutes_after_close)\n",
        ),
    ),
    bug(
        "upgrade-continues-the-plan",
        (
            "daemon/session/trading_day.py",
            "        if name == run_id and maker != self._trade.desk.made_by:\n",
            "        if False:\n",
        ),
    ),
    bug(
        "refused-keys-end-the-watch",
        (
            "daemon/session/monitor.py",
            "        except (BrokerUnavailable, AuthRefused):\n",
            "        except BrokerUnavailable:\n",
        ),
    ),
    bug(
        "slept-through-sessions-vanish",
        ("daemon/lifecycle.py", "            await self._catch_up(session)\n", ""),
    ),
    bug(
        "closed-day-stays-a-session",
        (
            "marketdata/traded_sessions.py",
            "frozenset(date for date in self.closed if date < today)",
            "frozenset()",
        ),
    ),
    bug(
        "wrong-calendar-closes-for-good",
        (
            "marketdata/traded_sessions.py",
            "        return (self.closed - dates) | frozenset(believed)\n",
            "        return self.closed | frozenset(believed)\n",
        ),
    ),
    bug(
        "older-close-passes-for-the-last",
        (
            "execution/gathering.py",
            "daily_bars(symbols, first, session.date - dt.timedelta(days=1))",
            "daily_bars(symbols, *_span(sources, session))",
        ),
    ),
    bug(
        "retained-command-obeyed",
        ("daemon/telemetry/commands.py", "        if is_retained:\n", "        if False:\n"),
    ),
    bug(
        "forged-command-obeyed",
        (
            "daemon/telemetry/commands.py",
            "            except InvalidSignature:\n                continue\n",
            "            except InvalidSignature:\n                return\n",
        ),
    ),
    bug(
        "old-command-obeyed",
        (
            "daemon/telemetry/commands.py",
            "        if not abs(age) <= FRESH_SECONDS:\n",
            "        if age < -FRESH_SECONDS:\n",
        ),
    ),
    bug(
        "command-obeyed-twice",
        ("daemon/telemetry/nonces.py", "        if nonce in self._used:\n", "        if False:\n"),
    ),
)
