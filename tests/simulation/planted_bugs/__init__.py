"""The bugs that are planted: what somebody might really write, one at a time, by room."""

from tests.simulation.planted_bugs import books, days, eligible, latch, limits, orders
from tests.simulation.planted_bugs.bug import Bug

__all__ = ["BUGS", "Bug"]

_ROOMS = (orders, latch, books, limits, eligible, days)
BUGS = tuple(one for room in _ROOMS for one in room.BUGS)
