"""The local engine over whatever version of a model is in use now: a promotion needs no restart."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

import structlog

from domain.errors import ConfigError, StateError
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar
from forecasts.card import ModelCard
from forecasts.local import LocalForecaster
from forecasts.model_store import ModelStore


class CurrentModel:
    """A Forecaster that looks at the pointer of the registry before each forecast.

    A version that cannot be loaded is told, and the one in memory answers on.
    """

    name = "local"

    def __init__(
        self, store: ModelStore, *, model: str, engine: Callable[[], LocalForecaster]
    ) -> None:
        self._store = store
        self._model = model
        self._engine_of_now = engine
        self._engine = engine()
        self._log = structlog.get_logger("forecasts")

    @property
    def card(self) -> ModelCard:
        """Card of the version that answers."""
        return self._engine.card

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast each symbol that has enough bars; see LocalForecaster."""
        await self._take_up()
        return await self._engine.forecast(history, as_of)

    async def aclose(self) -> None:
        """End the model's process."""
        await self._engine.aclose()

    async def _take_up(self) -> None:
        before = self._engine
        try:
            if self._store.current(self._model) == before.card.version:
                return
            self._engine = self._engine_of_now()
        except (ConfigError, StateError) as exc:
            self._log.warning("model.not_taken_up", reason=str(exc), in_use=before.card.title)
            return
        self._log.info("model.taken_up", model=self._engine.card.title, before=before.card.title)
        await before.aclose()
