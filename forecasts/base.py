"""The forecast port."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Protocol

from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar


class Forecaster(Protocol):
    """An engine that forecasts many symbols at once."""

    name: str

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast each symbol from its complete bars; one that cannot be is absent.

        Raises:
            ProviderUnavailable: no usable answer in time.
        """
