"""When closing orders were written that nothing at the broker refuses twice.

Kept in the latch, since the kill that wrote one may be dead when the next begins, and by
the broker's clock, since ours may have been set meanwhile.
"""

import datetime as dt

from domain.clock import Clock
from domain.errors import StateError
from state.latch import Latch

# From the moment it is written until an order that does not show is taken for lost.
LOST_AFTER_SECONDS = 150.0


class ClosingNotes:
    """The notes of one kill, beside those of others."""

    def __init__(self, latch: Latch, clock: Clock, *, broker_epoch: dt.datetime) -> None:
        """Take ``broker_epoch``, the broker's time at zero of our monotonic clock."""
        self._latch = latch
        self._clock = clock
        self._epoch = broker_epoch
        self._own: dt.datetime | None = None

    def others_wrote(self) -> float | None:
        """Return when another kill last wrote what may still arrive, on the monotonic scale."""
        noted = self._latch.read().closing_written_at
        if noted is None or noted == self._own:
            return None
        now = self._clock.monotonic()
        written = min((noted - self._epoch).total_seconds(), now)
        return written if now - written < LOST_AFTER_SECONDS else None

    def note(self) -> str:
        """Note that an order is about to be written; return what the operator has to know."""
        moment = self._epoch + dt.timedelta(seconds=self._clock.monotonic())
        try:
            self._latch.note_closing(moment)
        except (StateError, OSError) as exc:
            return (
                f"the latch could not note that a closing order was written ({exc}): let"
                f" {LOST_AFTER_SECONDS:g} s pass before another kill"
            )
        self._own = moment
        return ""
