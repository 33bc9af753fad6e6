"""Breaker states that outlive a restart, so that a dead provider stays known as dead."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRecord:
    """``state`` is ``closed``, ``open`` or ``half_open``."""

    name: str
    state: str
    failures: int
    opened_at: dt.datetime | None
    updated_at: dt.datetime
    reason: str = ""


class Breakers:
    """Last known state of each breaker."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, record: BreakerRecord) -> None:
        """Remember a breaker."""
        raise NotImplementedError

    def get(self, name: str) -> BreakerRecord | None:
        """Return one breaker."""
        raise NotImplementedError

    def all(self) -> Mapping[str, BreakerRecord]:
        """Return every breaker by name."""
        raise NotImplementedError
