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


Received = Callable[
    [ForecastSource, Mapping[Symbol, Forecast], Mapping[Symbol, Sequence[Bar]]], None
]
"""Told of every answer, used or not, with the bars that it was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One engine of the chain.

    ``breaker`` is for those that are far away; ``demotion`` tells why an answer is not to be
    used, such as a model that has drifted, or None.  A demoted engine is asked all the same:
    what it answers is how it can come back.
    """

    kind: ForecastSource
    engine: Forecaster
    breaker: Breaker | None = None
    demotion: Callable[[], str | None] | None = None


class FallbackForecaster:
    """A Forecaster over a chain of sources, best first."""

    name = "fallback"

    def __init__(self, sources: Sequence[Source], *, received: Received | None = None) -> None:
        self._sources = tuple(sources)
        self._received = received
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
                found = await self._ask(source, history, as_of)
            except ProviderUnavailable as exc:
                reasons[source.kind] = str(exc)
                continue
            self._last = ForecastOutcome(source=source.kind, reasons=reasons, as_of=as_of)
            return found
        self._last = ForecastOutcome(source=ForecastSource.NONE, reasons=reasons, as_of=as_of)
        told = "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
        raise ProviderUnavailable(f"no forecasts today ({told or 'no source is configured'})")

    async def _ask(
        self, source: Source, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        if source.breaker is None:
            found = await source.engine.forecast(history, as_of)
        else:
            found = await source.breaker.call(lambda: source.engine.forecast(history, as_of))
        if history and not found:
            # An answer about nobody is none: its model may look back further than the next one.
            raise ProviderUnavailable(
                f"none of {len(history)} symbols has as many bars as its model looks back"
            )
        if self._received is not None:
            self._received(source.kind, found, history)
        reason = source.demotion() if source.demotion is not None else None
        if reason is not None:
            raise ProviderUnavailable(f"demoted: {reason}")
        return found
