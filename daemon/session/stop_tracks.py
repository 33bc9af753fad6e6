"""What the stops remember of each holding, across restarts."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from domain.ids import Symbol
from domain.money import text
from risk.stops import Track
from state.facts import Facts
from state.store import Store

_FACT: Final = "stop_tracks"


class StopTracks:
    """One fact of the store: symbol -> cost, best and last price, doubt."""

    def __init__(self, store: Store) -> None:
        self._facts = Facts(store)
        self._known: dict[Symbol, Track] | None = None

    def load(self) -> Mapping[Symbol, Track]:
        """Return what was seen so far."""
        if self._known is None:
            rows = json.loads(self._facts.get(_FACT) or "{}")
            self._known = {Symbol(symbol): _track(row) for symbol, row in rows.items()}
        return self._known

    def save(self, tracks: Mapping[Symbol, Track]) -> None:
        """Remember these and no others; unchanged ones cost nothing."""
        if tracks != self.load():
            self._known = dict(tracks)
            rows = {symbol: _row(track) for symbol, track in sorted(tracks.items())}
            self._facts.put(**{_FACT: json.dumps(rows)})


def _row(track: Track) -> list[str | bool]:
    return [text(track.cost), text(track.best), text(track.last), track.is_doubtful]


def _track(row: list[str | bool]) -> Track:
    cost, best, last, is_doubtful = row
    return Track(
        cost=Decimal(str(cost)),
        best=Decimal(str(best)),
        last=Decimal(str(last)),
        is_doubtful=bool(is_doubtful),
    )
