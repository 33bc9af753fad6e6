"""The bugs that are planted: what somebody might really write, one at a time, by room."""

from collections.abc import Mapping

from tests.simulation.planted_bugs import books, days, eligible, latch, limits, orders
from tests.simulation.planted_bugs.bug import Bug

__all__ = ["BUGS", "STORIES", "Bug"]

_ROOMS = (orders, latch, books, limits, eligible, days)
BUGS = tuple(one for room in _ROOMS for one in room.BUGS)

_STOPS = frozenset({"market.swing", "setup.stops", "forecast.steady"})
_NOTHING = frozenset(
    {"broker.shows_nothing", "read.empty_positions", "forecast.steady", "operator.adopt"}
)
STORIES: Mapping[str, frozenset[str]] = {
    "stops-sell-what-is-in-dispute": _STOPS | {"books.broken"},
    "no-stop-without-equity": _STOPS | {"account.unusable"},
    "morning-believes-an-empty-list": frozenset(
        {"broker.shows_nothing", "read.empty_positions", "setup.short"}
    ),
    "empty-positions-believed-and-adopted": _NOTHING,
    "best-price-forgotten-on-restart": _STOPS | {"process.deployed"},
    "cut-off-ignored": frozenset({"process.at_cutoff", "send.slow", "send.lost_before"}),
    "adopted-split-booked-on-top": frozenset(
        {"corporate.split", "activity.hours_late", "operator.adopt", "books.broken"}
    ),
    "kill-from-afar-waits-for-the-books": frozenset({"mqtt.kill_refused"}),
    "fraction-keeps-its-cost": frozenset({"corporate.consolidation"}),
    "slept-through-sessions-vanish": frozenset({"process.away_for_days"}),
    "closed-day-stays-a-session": frozenset({"market.closed"}),
    "wrong-calendar-closes-for-good": frozenset({"calendar.wrong"}),
    "older-close-passes-for-the-last": frozenset({"calendar.wrong"}),
    "bust-compared-with-what-was-read-before": frozenset({"fill.bust_in_reading"}),
}
"""By bug, the story that is played alone where ordinary seeds tell it too seldom.

Those of several classes are among the stories of `faults.py`, so ordinary seeds do tell them: one
in ten, and then mostly beside others that drown it.
"""
