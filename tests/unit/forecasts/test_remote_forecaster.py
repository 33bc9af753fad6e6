import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from domain.errors import ConfigError, ProviderUnavailable
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.secrets import Secret
from forecasts import wire
from forecasts.model_store import ModelStore
from forecasts.remote import RemoteForecaster
from forecasts.remote_access import auth_headers
from forecasts.wire import Message
from tests.support.forecast_scene import AS_OF, history_of, made_up_bars
from tests.support.scripted_server import (
    Exchange,
    ScriptedServer,
    Step,
    answer,
    close,
    endless,
    hang,
    html,
    raw_reply,
    reset,
    trickle,
)
from transport.http import BoundedClient, Deadlines, HttpSettings

CARD = ModelStore().card("lstm")
INFER = "/v2/models/lstm/infer"
SIX = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
Change = Callable[[Message], Message]


def plausible(count: int) -> np.ndarray:
    """Quantiles that differ from symbol to symbol."""
    steps = np.sqrt(np.arange(1, CARD.horizon + 1))[None, :, None]
    spread = np.linspace(-0.02, 0.02, len(CARD.levels))[None, None, :]
    shift = 0.001 * np.arange(1, count + 1)[:, None, None]
    return (steps * (spread + shift)).astype(np.float32)


def honest(change: Change = lambda message: message) -> Step:
    """Answer as a good server would, after one change."""

    async def step(exchange: Exchange) -> None:
        headers = exchange.request.headers
        request = wire.decode_request(exchange.request.body, headers.get(wire.HEADER_LENGTH))
        symbols = request.texts("symbols")
        response = change(
            Message(
                message_id=request.message_id,
                tensors={"quantiles": plausible(len(symbols)), "symbols": symbols},
                parameters={
                    name: request.parameters[name]
                    for name in ("model_hash", "data_cutoff", "input_hash")
                },
            )
        )
        encoded = wire.encode_response(
            response, model="lstm", version="1", binary=request.wants_binary
        )
        await exchange.send(raw_reply(200, encoded.body, dict(encoded.headers)))

    return step


def with_quantiles(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(message: Message) -> Message:
        quantiles = make(message.floats("quantiles", 3).copy())
        return dataclasses.replace(message, tensors={**message.tensors, "quantiles": quantiles})

    return change


def with_parameter(name: str, value: str | None) -> Change:
    def change(message: Message) -> Message:
        parameters = {**message.parameters, name: value or ""}
        if value is None:
            del parameters[name]
        return dataclasses.replace(message, parameters=parameters)

    return change


def put(place: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def make(quantiles: np.ndarray) -> np.ndarray:
        quantiles[place] = value
        return quantiles

    return make


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        server.on("GET", "/v2", answer(200, {"name": "s", "version": "1", "extensions": []}))
        server.on("POST", INFER, honest())
        yield server


@pytest.fixture
async def remote(server: ScriptedServer) -> AsyncIterator[RemoteForecaster]:
    deadlines = Deadlines(connect_seconds=0.5, read_seconds=0.5, total_seconds=0.5)
    client = BoundedClient(
        HttpSettings(base_url=server.url, deadlines=deadlines),
        {"Authorization": Secret("Bearer made-up")},
    )
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20)
    yield forecaster
    await forecaster.aclose()


async def test_an_honest_answer_becomes_forecasts(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    found = await remote.forecast(history_of(*SIX), AS_OF)

    assert sorted(found) == list(SIX)
    forecast = found[Symbol("NVDA")]
    assert forecast.source is ForecastSource.REMOTE
    assert forecast.model_hash == CARD.sha256
    np.testing.assert_allclose(forecast.quantiles, plausible(6)[5, 19], atol=6e-7)
    assert server.seen[-1].headers["authorization"] == "Bearer made-up"


async def test_tensors_travel_in_binary_where_the_server_knows_it(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    server.on("GET", "/v2", answer(200, {"extensions": ["binary_tensor_data"]}))

    found = await remote.forecast(history_of(*SIX), AS_OF)

    assert sorted(found) == list(SIX)
    assert server.seen[-1].headers["content-type"] == "application/octet-stream"
    assert server.count("GET", "/v2") == 1
    await remote.forecast(history_of(*SIX), AS_OF)
    assert server.count("GET", "/v2") == 1


async def test_a_server_that_no_longer_reads_binary_is_asked_anew_what_it_can(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    server.on("GET", "/v2", answer(200, {"extensions": ["binary_tensor_data"]}))
    await remote.forecast(history_of(*SIX), AS_OF)
    # Another server behind the same address: MLServer refuses a binary body.
    server.on("GET", "/v2", answer(200, {"extensions": []}))
    server.on("POST", INFER, answer(422, {"error": "not JSON"}), honest())

    with pytest.raises(ProviderUnavailable, match="422"):
        await remote.forecast(history_of(*SIX), AS_OF)
    found = await remote.forecast(history_of(*SIX), AS_OF)

    assert sorted(found) == list(SIX)
    assert server.seen[-1].headers["content-type"] == "application/json"


async def test_a_page_in_the_place_of_the_metadata_is_a_server_that_is_away(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    server.on("GET", "/v2", html(200))

    with pytest.raises(ProviderUnavailable, match="server metadata"):
        await remote.forecast(history_of(*SIX), AS_OF)

    assert server.count("POST", INFER) == 0


async def test_rows_belong_to_the_symbols_the_server_names(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    def turned(message: Message) -> Message:
        return dataclasses.replace(
            message,
            tensors={
                "quantiles": message.floats("quantiles", 3)[::-1],
                "symbols": message.texts("symbols")[::-1],
            },
        )

    server.on("POST", INFER, honest(), honest(turned))

    straight = await remote.forecast(history_of(*SIX), AS_OF)
    assert await remote.forecast(history_of(*SIX), AS_OF) == straight


def replaced_symbols(*symbols: str) -> Change:
    return lambda message: dataclasses.replace(
        message, tensors={**message.tensors, "symbols": symbols}
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: dataclasses.replace(m, message_id="q-other"), "another request"),
        (with_parameter("input_hash", "0" * 64), "asked for input_hash"),
        (with_parameter("input_hash", None), "asked for input_hash"),
        (with_parameter("model_hash", "0" * 64), "asked for model_hash"),
        (with_parameter("data_cutoff", "2022-11-08"), "asked for data_cutoff"),
        (replaced_symbols(*SIX[:5], "MSFT"), "not about the symbols"),
        (replaced_symbols(*SIX[:5], "AAPL"), "not about the symbols"),
        (replaced_symbols(*SIX[:5]), "not about the symbols"),
        (lambda m: dataclasses.replace(m, tensors={"symbols": SIX}), "tensor quantiles"),
        (with_quantiles(lambda q: q[:, :, :-1]), "wrong shape"),
        (with_quantiles(lambda q: q[:, :10]), "forecasts 10 sessions"),
        (with_quantiles(lambda q: q[:, 0]), "tensor quantiles"),
        (with_quantiles(lambda q: q * 100), "impossible numbers"),
        (with_quantiles(lambda q: q * 0), "impossible numbers"),
        (with_quantiles(lambda q: np.repeat(q[:1], 6, axis=0)), "it is dead"),
    ],
)
async def test_h06_h07_an_answer_to_another_question_is_refused(
    server: ScriptedServer, remote: RemoteForecaster, change: Change, reason: str
) -> None:
    server.on("POST", INFER, honest(change))

    with pytest.raises(ProviderUnavailable, match=reason):
        await remote.forecast(history_of(*SIX), AS_OF)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.0])
async def test_one_impossible_symbol_in_many_sits_out(
    server: ScriptedServer, remote: RemoteForecaster, value: float
) -> None:
    names = [f"S{chr(65 + number)}" for number in range(20)]
    server.on("GET", "/v2", answer(200, {"extensions": ["binary_tensor_data"]}))
    server.on("POST", INFER, honest(with_quantiles(put((3, 19, 4), value))))

    found = await remote.forecast(history_of(*names), AS_OF)

    assert sorted(found) == [name for name in names if name != "SD"]


async def test_too_many_impossible_symbols_discredit_the_answer(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    server.on("GET", "/v2", answer(200, {"extensions": ["binary_tensor_data"]}))
    server.on("POST", INFER, honest(with_quantiles(put((slice(0, 1), 19, 4), np.nan))))

    with pytest.raises(ProviderUnavailable, match="1 of 6 symbols with impossible numbers"):
        await remote.forecast(history_of(*SIX), AS_OF)


async def test_crossing_quantiles_are_sorted(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    server.on("POST", INFER, honest(with_quantiles(lambda q: q[:, :, ::-1].copy())))

    found = await remote.forecast(history_of(*SIX), AS_OF)

    quantiles = found[Symbol("AAPL")].quantiles
    assert list(quantiles) == sorted(quantiles)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (answer(401), "check OPENBELL_FORECAST_TOKEN"),
        (answer(403), "check OPENBELL_FORECAST_TOKEN"),
        (answer(429), "busy or not ready"),
        (answer(503), "busy or not ready"),
        (answer(404, {"error": "unknown model"}), "404: unknown model"),
        (answer(422, {"detail": "bad"}), "422: bad"),
        (html(502), "502"),
        (answer(200, b"not json"), "not a usable inference message"),
        (answer(200, {}), "not a usable inference message"),
        (answer(307, b"", {"Location": "http://127.0.0.1:9/"}), "307"),
        (reset, "broken"),
        (close, "broken"),
        (hang, "timeout"),
        (trickle(b"{}", seconds=0.05), "timeout"),
        (endless(b"x" * 65536), "too_large|timeout"),
    ],
)
async def test_no_usable_answer_is_provider_unavailable(
    server: ScriptedServer, remote: RemoteForecaster, step: Step, reason: str
) -> None:
    server.on("POST", INFER, step)

    with pytest.raises(ProviderUnavailable, match=reason):
        await remote.forecast(history_of(*SIX), AS_OF)

    assert server.count("POST", INFER) == 1


async def test_h07_yesterdays_answer_out_of_a_cache_is_refused(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    kept: list[bytes] = []

    async def caching(exchange: Exchange) -> None:
        if not kept:
            request = wire.decode_request(exchange.request.body, None)
            response = Message(
                message_id=request.message_id,
                tensors={"quantiles": plausible(6), "symbols": request.texts("symbols")},
                parameters=request.parameters,
            )
            kept.append(
                wire.encode_response(response, model="lstm", version="1", binary=False).body
            )
        await exchange.send(raw_reply(200, kept[0]))

    server.on("POST", INFER, caching)
    await remote.forecast(history_of(*SIX), AS_OF)

    with pytest.raises(ProviderUnavailable, match="another request"):
        await remote.forecast(history_of(*SIX), AS_OF)


async def test_a_server_that_is_down_is_provider_unavailable() -> None:
    client = BoundedClient(HttpSettings(base_url="http://127.0.0.1:9"), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20)

    with pytest.raises(ProviderUnavailable, match="connect"):
        await forecaster.forecast(history_of("AAPL"), AS_OF)
    await forecaster.aclose()


class Budget:
    def __init__(self, refusal: str | None) -> None:
        self.answer = refusal
        self.booked: list[int] = []

    def refusal(self, symbols: int) -> str | None:
        return self.answer

    def book(self, symbols: int) -> None:
        self.booked.append(symbols)


async def test_h08_without_budget_nothing_is_sent(server: ScriptedServer) -> None:
    budget = Budget("the daily budget of $100 is spent")
    client = BoundedClient(HttpSettings(base_url=server.url), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, budget=budget)

    with pytest.raises(ProviderUnavailable, match=r"budget of \$100 is spent"):
        await forecaster.forecast(history_of("AAPL"), AS_OF)
    await forecaster.aclose()

    assert server.seen == []
    assert budget.booked == []


async def test_h08_a_call_is_booked_even_if_its_answer_is_lost(server: ScriptedServer) -> None:
    budget = Budget(None)
    client = BoundedClient(HttpSettings(base_url=server.url), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, budget=budget)
    server.on("POST", INFER, reset)

    with pytest.raises(ProviderUnavailable):
        await forecaster.forecast(history_of(*SIX), AS_OF)
    await forecaster.aclose()

    assert budget.booked == [6]


@pytest.mark.parametrize(
    ("metadata", "infer", "calls"),
    [(html(503), honest(), 0), (html(200), honest(), 0), (answer(200, {}), html(503), 1)],
)
async def test_h08_a_call_is_booked_where_it_leaves(
    server: ScriptedServer, metadata: Step, infer: Step, calls: int
) -> None:
    budget = Budget(None)
    client = BoundedClient(HttpSettings(base_url=server.url), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, budget=budget)
    server.on("GET", "/v2", metadata)
    server.on("POST", INFER, infer)

    with pytest.raises(ProviderUnavailable):
        await forecaster.forecast(history_of(*SIX), AS_OF)
    await forecaster.aclose()

    assert server.count("POST", INFER) == calls
    assert budget.booked == [6] * calls


async def test_nothing_to_forecast_calls_nobody(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    assert await remote.forecast(history_of("AAPL", count=100), AS_OF) == {}
    assert server.seen == []


async def test_a_day_the_model_was_trained_on_is_refused_before_anything_is_sent(
    server: ScriptedServer,
) -> None:
    budget = Budget(None)
    client = BoundedClient(HttpSettings(base_url=server.url), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, budget=budget)
    last = CARD.data_cutoff
    evening = dt.datetime.combine(last, dt.time(23), tzinfo=dt.UTC)

    with pytest.raises(ProviderUnavailable, match="would not be out of sample"):
        await forecaster.forecast({Symbol("AAPL"): made_up_bars("AAPL", 200, last=last)}, evening)
    assert server.seen == []
    assert budget.booked == []
    morning = evening + dt.timedelta(hours=9)
    found = await forecaster.forecast(
        {Symbol("AAPL"): made_up_bars("AAPL", 200, last=last)}, morning
    )
    await forecaster.aclose()

    assert sorted(found) == ["AAPL"]


async def test_a_service_that_sleeps_is_woken_before_each_forecast(
    server: ScriptedServer,
) -> None:
    deadlines = Deadlines(connect_seconds=0.2, read_seconds=0.2, total_seconds=0.2)
    client = BoundedClient(HttpSettings(base_url=server.url, deadlines=deadlines), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, warm_up_seconds=5)

    async def slow(exchange: Exchange) -> None:
        # Longer than a forecast may take, shorter than waking may.
        await asyncio.sleep(0.4)
        await answer(200, {"extensions": []})(exchange)

    server.on("GET", "/v2", slow)

    assert sorted(await forecaster.forecast(history_of(*SIX), AS_OF)) == list(SIX)
    await forecaster.forecast(history_of(*SIX), AS_OF)
    await forecaster.aclose()

    assert server.count("GET", "/v2") == 2


async def test_a_service_that_does_not_wake_in_time_is_unavailable(
    server: ScriptedServer,
) -> None:
    client = BoundedClient(HttpSettings(base_url=server.url), {})
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20, warm_up_seconds=0.2)
    server.on("GET", "/v2", hang)

    with pytest.raises(ProviderUnavailable, match="timeout"):
        await forecaster.forecast(history_of(*SIX), AS_OF)
    await forecaster.aclose()

    assert server.count("POST", INFER) == 0


@pytest.mark.parametrize(
    ("header", "scheme", "sent"),
    [
        ("Authorization", "Bearer", "Bearer made-up"),
        ("Authorization", "", "made-up"),
        ("X-Api-Key", "", "made-up"),
        ("X-Token", "Token", "Token made-up"),
    ],
)
async def test_the_token_travels_as_the_service_wants_it(
    server: ScriptedServer, header: str, scheme: str, sent: str
) -> None:
    headers = auth_headers(Secret("made-up"), header=header, scheme=scheme)
    client = BoundedClient(HttpSettings(base_url=server.url), headers)
    forecaster = RemoteForecaster(client, model="lstm", card=CARD, horizon=20)

    await forecaster.forecast(history_of(*SIX), AS_OF)
    await forecaster.aclose()

    assert server.seen
    for exchange in server.seen:
        assert exchange.headers[header.lower()] == sent
        assert header == "Authorization" or "authorization" not in exchange.headers


def test_without_a_token_no_header_is_sent() -> None:
    assert auth_headers(None) == {}
    assert auth_headers(Secret("")) == {}


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"header": ""}, "auth_header"),
        ({"header": "X Api Key"}, "auth_header"),
        ({"header": "X-Api-Key:"}, "auth_header"),
        ({"header": "Content-Length"}, "auth_header"),
        ({"header": "host"}, "auth_header"),
        ({"scheme": "Bearer token"}, "auth_scheme"),
        ({"scheme": "Bearer\r\nX: y"}, "auth_scheme"),
    ],
)
def test_a_header_that_cannot_carry_a_token_is_refused(changed: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"forecasts\.remote\.{key}"):
        auth_headers(Secret("made-up"), **changed)


async def test_a_cancelled_call_leaves_nothing_behind(
    server: ScriptedServer, remote: RemoteForecaster
) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await hang(exchange)

    server.on("POST", INFER, silent)
    task = asyncio.create_task(remote.forecast(history_of("AAPL"), AS_OF))
    await arrived.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    server.on("POST", INFER, honest())
    assert sorted(await remote.forecast(history_of("KO"), AS_OF)) == ["KO"]


def test_a_horizon_the_model_does_not_reach_is_refused() -> None:
    client = BoundedClient(HttpSettings(base_url="http://127.0.0.1:9"), {})

    with pytest.raises(ConfigError, match=r"forecasts\.horizon is 99"):
        RemoteForecaster(client, model="lstm", card=CARD, horizon=99)
