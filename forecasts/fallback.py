"""Remote, else local, else none; and a record of which it was, and why.

Sources are tried one after the other and never mixed: an answer that comes after its
deadline was given up together with its call, so it cannot be used after the next source
was.  Each forecast carries its source; sizing cuts what a degraded source wishes.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from domain.errors import ProviderUnavailable
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts.base import Forecaster
from transport.breaker import Breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastOutcome:
    """Which source answered, and what each source before it said."""

    source: ForecastSource
    reasons: Mapping[str, str]
    as_of: dt.datetime | None = None

    @property
    def is_degraded(self) -> bool:
        """True when a better source was tried and did not answer."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One engine of the chain.

    ``breaker`` is for those that are far away; ``demotion`` tells why an engine is not to be
    asked although it would answer, such as a model that has drifted, or None.
    """

    kind: ForecastSource
    engine: Forecaster
    breaker: Breaker | None = None
    demotion: Callable[[], str | None] | None = None


class FallbackForecaster:
    """A Forecaster over a chain of sources, best first."""

    name = "fallback"

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._last = ForecastOutcome(source=ForecastSource.NONE, reasons={})

    @property
    def last(self) -> ForecastOutcome:
        """Outcome of the last call."""
        return self._last

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast with the first source that answers.

        Raises:
            ProviderUnavailable: none did; the text says why for each.
        """
        reasons: dict[str, str] = {}
        for source in self._sources:
            try:
                found = await _ask(source, history, as_of)
            except ProviderUnavailable as exc:
                reasons[source.kind] = str(exc)
                continue
            self._last = ForecastOutcome(source=source.kind, reasons=reasons, as_of=as_of)
            return found
        self._last = ForecastOutcome(source=ForecastSource.NONE, reasons=reasons, as_of=as_of)
        told = "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
        raise ProviderUnavailable(f"no forecasts today ({told or 'no source is configured'})")


async def _ask(
    source: Source, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
) -> Mapping[Symbol, Forecast]:
    reason = source.demotion() if source.demotion is not None else None
    if reason is not None:
        raise ProviderUnavailable(f"demoted: {reason}")
    if source.breaker is None:
        return await source.engine.forecast(history, as_of)
    return await source.breaker.call(lambda: source.engine.forecast(history, as_of))
