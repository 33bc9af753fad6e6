"""The bugs that are planted: what somebody might really write, one at a time, by room."""

from tests.simulation.planted_bugs import books, days, latch, limits, orders
from tests.simulation.planted_bugs.bug import Bug

__all__ = ["BUGS", "Bug"]

BUGS = (*orders.BUGS, *latch.BUGS, *books.BUGS, *limits.BUGS, *days.BUGS)
