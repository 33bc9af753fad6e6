"""The remote engine: any server of the Open Inference Protocol, given nothing on trust.

An answer is used only if it is provably the answer to this question: same id, same input
hash, same symbols, the model and the data cut-off that were asked for.  One call, no
retry: the deadline is short and the local model is waiting.
"""

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import ConfigError, DataError, ProviderUnavailable
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar
from forecasts import wire
from forecasts.card import ModelCard
from forecasts.features import computable
from forecasts.screening import Batch, Origin, batch_of, forecasts_of, refuse_in_sample
from transport.http import BoundedClient, Deadlines, Reply

_OK = 200
_UNAUTHORIZED = (401, 403)
_BUSY = (429, 503)
_BYTES_PER_VALUE = 32
_OVERHEAD_BYTES = 64 * 1024


class CallBudget(Protocol):
    """What a call costs, and whether it may."""

    def refusal(self, symbols: int) -> str | None:
        """Tell why a call for so many symbols must not be made, or None."""

    def book(self, symbols: int) -> None:
        """Note that the call was made."""


class FreeCalls:
    """A budget for engines that cost nothing per call."""

    def refusal(self, symbols: int) -> str | None:
        """Refuse nothing."""
        return None if symbols >= 0 else "a negative number of symbols"

    def book(self, symbols: int) -> None:
        """Note nothing."""


class RemoteForecaster:
    """A Forecaster over HTTP.

    ``card`` describes the model that the server is expected to run: what it eats, its
    levels and its hash.  A server that runs another one is refused, and so is a day that
    the model was trained on.

    ``warm_up_seconds`` is for services that sleep when nobody asks: each forecast then begins
    with a question that costs nothing and may take as long as waking takes, so that the
    deadline of the forecast itself can stay short.  0 asks once, what the server can do.
    """

    name = "remote"

    def __init__(
        self,
        client: BoundedClient,
        *,
        model: str,
        card: ModelCard,
        horizon: int,
        budget: CallBudget | None = None,
        warm_up_seconds: float = 0.0,
    ) -> None:
        if not 1 <= horizon <= card.horizon:
            raise ConfigError(
                f"forecasts.horizon is {horizon}, but model {card.title} forecasts 1 to "
                f"{card.horizon} sessions"
            )
        self._client = client
        self._model = model
        self._card = card
        self._features = computable(card.features, needed_by=f"model {card.title}")
        self._budget = FreeCalls() if budget is None else budget
        self._numbers = itertools.count(1)
        self._warm_up_seconds = warm_up_seconds
        self._is_binary: bool | None = None
        self._origin = Origin(
            source=ForecastSource.REMOTE,
            model=card.title,
            model_hash=card.sha256,
            levels=card.levels,
            horizon=horizon,
        )

    async def forecast(
        self, history: Mapping[Symbol, Sequence[Bar]], as_of: dt.datetime
    ) -> Mapping[Symbol, Forecast]:
        """Forecast each symbol that has enough bars; the others are absent.

        Raises:
            ProviderUnavailable: no usable answer in time, no budget for the call, or a day
                that the model was trained on.
        """
        refuse_in_sample(self._card, as_of)
        batch = batch_of(history, as_of, self._card.lookback, self._features)
        if batch is None:
            return {}
        refusal = self._budget.refusal(len(batch.symbols))
        if refusal is not None:
            raise ProviderUnavailable(f"remote forecasts were not called: {refusal}")
        try:
            quantiles = await self._ask(batch, as_of)
        except ProviderUnavailable:
            # Another server may stand there by now, which is asked anew what it can do.
            self._is_binary = None
            raise
        return forecasts_of(batch, quantiles, self._origin, as_of)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, batch: Batch, as_of: dt.datetime) -> NDArray[np.float32]:
        request = self._request(batch, as_of)
        encoded = wire.encode_request(request, binary=await self._knows_binary())
        values = len(batch.symbols) * self._card.horizon * len(self._card.levels)
        reply = await self._client.request(
            "POST",
            f"/v2/models/{self._model}/infer",
            body=encoded.body,
            headers=encoded.headers,
            # Where it leaves: what was sent may cost, also without an answer.
            guard=lambda: self._budget.book(len(batch.symbols)),
            body_cap_bytes=values * _BYTES_PER_VALUE + _OVERHEAD_BYTES,
        )
        self._check_status(reply)
        try:
            response = wire.decode_response(reply.body, reply.headers.get(wire.HEADER_LENGTH))
            return self._bound_answer(request, response)
        except DataError as exc:
            raise ProviderUnavailable(f"remote forecasts: {exc}") from exc

    async def _knows_binary(self) -> bool:
        if self._is_binary is None or self._warm_up_seconds > 0:
            reply = await self._client.request("GET", "/v2", deadlines=self._waking())
            self._check_status(reply)
            try:
                document = reply.json(what="server metadata")
            except DataError as exc:
                # A page of a gateway, or of a service that wakes: the next source answers.
                raise ProviderUnavailable(f"remote forecasts: {exc}") from exc
            extensions = document.get("extensions") if isinstance(document, dict) else None
            self._is_binary = isinstance(extensions, list) and wire.BINARY_EXTENSION in extensions
        return self._is_binary

    def _waking(self) -> Deadlines | None:
        seconds = self._warm_up_seconds
        if not seconds > 0:
            return None
        connect = min(seconds, Deadlines().connect_seconds)
        return Deadlines(connect_seconds=connect, read_seconds=seconds, total_seconds=seconds)

    def _request(self, batch: Batch, as_of: dt.datetime) -> wire.Message:
        return wire.Message(
            message_id=f"{as_of:%Y%m%dT%H%M%S}-{next(self._numbers)}",
            tensors={wire.CONTEXT: batch.contexts, wire.SYMBOLS: batch.symbols},
            parameters={
                "model_hash": self._card.sha256,
                "data_cutoff": batch.data_cutoff.isoformat(),
                "input_hash": wire.input_hash(batch.symbols, batch.contexts),
            },
        )

    def _bound_answer(self, request: wire.Message, response: wire.Message) -> NDArray[np.float32]:
        if response.message_id != request.message_id:
            raise DataError("the answer belongs to another request")
        for name, asked in request.parameters.items():
            answered = response.parameters.get(name)
            if answered != asked:
                raise DataError(f"asked for {name} {asked}, answered {answered}")
        asked_symbols = request.texts(wire.SYMBOLS)
        symbols = response.texts(wire.SYMBOLS)
        quantiles = response.floats(wire.QUANTILES, 3)
        if len(symbols) != quantiles.shape[0] or sorted(symbols) != sorted(asked_symbols):
            raise DataError("the answer is not about the symbols that were asked for")
        # Rows belong to the symbols that the server names, not to those we hoped for.
        place = {symbol: row for row, symbol in enumerate(symbols)}
        return quantiles[[place[symbol] for symbol in asked_symbols]]

    def _check_status(self, reply: Reply) -> None:
        if reply.status == _OK:
            return
        where = f"forecast server {self._client.base_url}"
        if reply.status in _UNAUTHORIZED:
            raise ProviderUnavailable(f"{where} refused the token; check OPENBELL_FORECAST_TOKEN")
        if reply.status in _BUSY:
            raise ProviderUnavailable(f"{where} is busy or not ready ({reply.status})")
        raise ProviderUnavailable(
            f"{where} answered {reply.status}: {wire.error_text(reply.body) or 'no reason given'}"
        )
