"""The local twin: the shipped model on this machine's CPU, in a process of its own.

A crash or a hang of the model costs one forecast, never the daemon; torch is not needed
and ONNX Runtime is never loaded into the daemon's process.
"""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence

from domain.errors import ConfigError
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts.card import ModelCard
from forecasts.features import computable
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel
from forecasts.screening import Origin, bars_needed, batch_of, forecasts_of, refuse_in_sample


class LocalForecaster:
    """A Forecaster over one verified model.

    It refuses to forecast a day that the model was trained on, because such a forecast
    flatters; ``allow_in_sample`` lifts that for a run that says so in its results.
    """

    name = "local"

    def __init__(
        self,
        model: StoredModel,
        *,
        horizon: int,
        timeout_seconds: float = 30.0,
        allow_in_sample: bool = False,
    ) -> None:
        if not 1 <= horizon <= model.card.horizon:
            raise ConfigError(
                f"forecasts.horizon is {horizon}, but model {model.card.title} forecasts 1 to "
                f"{model.card.horizon} sessions; choose one of these or train another model"
            )
        self._card = model.card
        self._features = computable(model.card.features, needed_by=f"model {model.card.title}")
        self._process = ModelProcess(model.onnx)
        self._timeout_seconds = timeout_seconds
        self._allow_in_sample = allow_in_sample
        self._origin = Origin(
            source=ForecastSource.LOCAL,
            model=model.card.title,
            model_hash=model.card.sha256,
            levels=model.card.levels,
            horizon=horizon,
        )

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self._card

    @property
    def bars_needed(self) -> int:
        """Number of bars a symbol must have."""
        return bars_needed(self._card.lookback)

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast each symbol that has enough bars; the others are absent.

        Raises:
            ProviderUnavailable: crash, hang, an answer that cannot be trusted, or a day that
                the model was trained on.
        """
        if not self._allow_in_sample:
            refuse_in_sample(self._card, as_of)
        batch = batch_of(history, as_of, self._card.lookback, self._features)
        if batch is None:
            return {}
        loop = asyncio.get_running_loop()
        quantiles = await loop.run_in_executor(
            None, self._process.run, batch.contexts, self._timeout_seconds
        )
        return forecasts_of(batch, quantiles, self._origin, as_of)

    async def aclose(self) -> None:
        """End the model's process."""
        await asyncio.get_running_loop().run_in_executor(None, self._process.close)
