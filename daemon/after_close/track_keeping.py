"""Locks every forecast the moment it is received, and knows which sources are demoted."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from domain.clock import Clock
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts.tracking import lock
from marketdata.session_calendar import trading_date
from state.standings import Standings
from state.store import Store
from state.track_record import TrackRecord

NO_RULE = "none"


class TrackKeeper:
    """Between the engines and the track record.

    ``base_rate`` tells of a source the share of rises over the horizon in what the model was
    trained on that answers for it now; the ``rule`` "none" demotes nothing.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        base_rate: Callable[[ForecastSource], float],
        rule: str,
    ) -> None:
        self._record = TrackRecord(store)
        self._standings = Standings(store)
        self._clock = clock
        self._base_rate = base_rate
        self._is_judged = rule != NO_RULE
        self._answers: dict[ForecastSource, str] = {}
        self._log = structlog.get_logger("forecasts")

    def received(
        self,
        source: ForecastSource,
        found: Mapping[Symbol, Forecast],
        history: Mapping[Symbol, Sequence[Bar]],
    ) -> None:
        """Lock an answer, used or not.

        Raises:
            StorageError: the disk refused; what is not locked is not traded on.
        """
        for forecast in found.values():
            self._answers[source] = forecast.model
        closes = {
            symbol: history[symbol][-1].close
            for symbol, forecast in found.items()
            if trading_date(history[symbol][-1].at) == forecast.data_cutoff
        }
        records = lock(
            found.values(),
            closes,
            base_rate=self._base_rate(source),
            locked_at=self._clock.now(),
            after=self._record.last(),
        )
        self._record.lock(records)
        self._log.info(
            "forecasts.locked",
            source=source.value,
            forecasts=len(records),
            digest=records[-1].digest[:12] if records else "",
        )

    def demotion(self, source: ForecastSource) -> str | None:
        """Tell why the answers of a source are not used, or None.

        What an earlier model of it did is not held against the one that answers now.
        """
        standing = self._standings.newest().get(source)
        if standing is None or not standing.is_demoted or not self._is_judged:
            return None
        is_its_own = self._answers.get(source, standing.model) == standing.model
        return standing.reason if is_its_own else None
