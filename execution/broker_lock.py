"""The broker's own lock on new orders beside our latch: two switches that should agree.

A kill sets both.  A person can clear or set the broker's on its web page, and then only
we can say that the two differ; neither is ever changed here.
"""

from domain.account import Account
from domain.errors import AuthRefused, BrokerUnavailable
from execution.desk import Desk
from state.facts import Facts
from state.latch_record import LatchState

CLEARED = (
    "the broker's lock on new orders was cleared while our kill latch is engaged; the latch"
    " holds, run `openbell kill` to set the lock again"
)
SET = (
    "new orders are locked at the broker while our latch is armed: they would be refused;"
    " clear suspend_trade at the broker, or run `openbell kill` if trading shall stop"
)
_FACT = "broker_lock"


def mismatch(latch: LatchState, account: Account) -> str:
    """Return how lock and latch differ, in words; empty while they agree."""
    is_locked = account.is_suspended_by_user
    if not latch.is_engaged:
        return SET if is_locked else ""
    # A kill under way sets and clears the lock by itself.
    is_expected = latch.is_broker_locked and latch.pending is None
    return CLEARED if is_expected and not is_locked else ""


class BrokerLock:
    """Compares at each look, tells once, and remembers for ``status``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._facts = Facts(desk.store)

    async def compare(self, account: Account) -> str:
        """Return what differs, believed when two looks show it."""
        found = mismatch(self._desk.latch.read(), account)
        if found and found != self._facts.get(_FACT):
            found = await self._again(found)
            if found:
                self._desk.note("account.mismatch", found)
        words = found or ("set" if account.is_suspended_by_user else "clear")
        if words != self._facts.get(_FACT):
            self._facts.put(**{_FACT: words})
        return found

    async def _again(self, found: str) -> str:
        # Resume clears the lock a moment before it releases the latch.
        await self._desk.clock.sleep(self._desk.settings.settle_seconds)
        try:
            account = await self._desk.broker.account()
        except (BrokerUnavailable, AuthRefused):
            return ""
        return found if mismatch(self._desk.latch.read(), account) == found else ""
