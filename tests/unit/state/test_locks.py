"""Which reason stands when a locked symbol is locked once more."""

from pathlib import Path

import pytest

from domain.clock import ManualClock
from domain.ids import Symbol
from state.locks import SymbolLocks
from state.store import Store
from tests.support.virtual_time import OPENING

AAPL = Symbol("AAPL")
BREAK = "the books hold 3 shares of AAPL, the broker 5"
LIMIT = "limit: position is 12.00 % of equity, the limit is 10 %"
MANUAL = "manual: a person said so"


@pytest.mark.parametrize(
    ("before", "after", "stands"),
    [
        (BREAK, "something else", "something else"),
        (BREAK, LIMIT, LIMIT),
        (BREAK, MANUAL, MANUAL),
        # Found as seeds 6081 and 6089: an execution told twice lifted the lock of a limit.
        (LIMIT, BREAK, f"{LIMIT}; also {BREAK}"),
        (f"{LIMIT}; also {BREAK}", "something else", f"{LIMIT}; also something else"),
        (LIMIT, MANUAL, MANUAL),
        (MANUAL, BREAK, MANUAL),
        (MANUAL, LIMIT, MANUAL),
        (MANUAL, "manual: and so did another", "manual: and so did another"),
    ],
)
def test_a_break_takes_along_neither_what_a_person_nor_what_a_limit_locked(
    tmp_path: Path, before: str, after: str, stands: str
) -> None:
    store = Store.open(tmp_path, clock=ManualClock(OPENING))
    locks = SymbolLocks(store)
    locks.lock(AAPL, before)
    locks.lock(AAPL, after)
    events = store.row("SELECT count(*) FROM events")
    locks.lock(AAPL, after)

    assert locks.all() == {AAPL: stands}
    assert store.row("SELECT count(*) FROM events") == events
    store.close()
