import asyncio
import dataclasses
import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import numpy as np
import onnx
import pytest

from domain.errors import ConfigError, ProviderUnavailable
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from forecasts.features import columns_of, contexts_of
from forecasts.local import LocalForecaster
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel
from forecasts.model_store import ModelStore
from tests.support.forecast_scene import AS_OF, history_of, made_up_bars

HORIZON = 20


@pytest.fixture(scope="module")
def model() -> StoredModel:
    return ModelStore().load("lstm")


@pytest.fixture
async def local(model: StoredModel) -> AsyncIterator[LocalForecaster]:
    forecaster = LocalForecaster(model, horizon=HORIZON, timeout_seconds=20)
    yield forecaster
    await forecaster.aclose()


async def test_every_symbol_with_enough_bars_is_forecast(local: LocalForecaster) -> None:
    history = history_of("AAPL", "KO") | {Symbol("NEW"): made_up_bars("NEW", 179)}

    found = await local.forecast(history, AS_OF)

    assert sorted(found) == ["AAPL", "KO"]
    assert local.bars_needed == 180
    forecast = found[Symbol("AAPL")]
    assert (forecast.source, forecast.horizon, forecast.model) == (
        ForecastSource.LOCAL,
        HORIZON,
        "lstm/1",
    )
    assert forecast.data_cutoff == dt.date(2022, 11, 9)
    assert forecast.as_of == AS_OF
    assert 0.3 < forecast.probability_up < 0.8
    assert forecast.quantiles[0] < 0 < forecast.quantiles[-1]


async def test_nothing_to_forecast_is_no_error_and_starts_no_process(
    local: LocalForecaster,
) -> None:
    assert await local.forecast({}, AS_OF) == {}
    assert local._process.pid is None


async def test_the_same_bars_give_the_same_forecasts_in_any_company(
    local: LocalForecaster,
) -> None:
    many = history_of(*(f"S{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(70)), "AAPL")

    alone = await local.forecast(history_of("AAPL"), AS_OF)
    again = await local.forecast(history_of("AAPL"), AS_OF)
    among = await local.forecast(many, AS_OF)

    assert alone == again
    assert len(among) == 71
    np.testing.assert_allclose(
        among[Symbol("AAPL")].quantiles, alone[Symbol("AAPL")].quantiles, rtol=1e-5, atol=1e-7
    )


async def test_bars_that_are_not_over_yet_are_not_forecast_from(local: LocalForecaster) -> None:
    early = dt.datetime(2022, 11, 9, 4, tzinfo=dt.UTC)

    assert await local.forecast(history_of("AAPL"), early) == {}


async def test_a_day_the_model_was_trained_on_is_refused(local: LocalForecaster) -> None:
    day = dt.datetime(2022, 5, 31, 12, tzinfo=dt.UTC)

    with pytest.raises(ProviderUnavailable, match="would not be out of sample"):
        await local.forecast({Symbol("AAPL"): made_up_bars("AAPL", 200, last=day.date())}, day)


async def test_a_day_the_model_was_trained_on_can_be_asked_for(model: StoredModel) -> None:
    forecaster = LocalForecaster(model, horizon=HORIZON, allow_in_sample=True)
    bars = made_up_bars("AAPL", 200, last=dt.date(2021, 3, 1))

    found = await forecaster.forecast(
        {Symbol("AAPL"): bars}, dt.datetime(2021, 3, 2, 12, tzinfo=dt.UTC)
    )
    await forecaster.aclose()

    assert sorted(found) == ["AAPL"]


@pytest.mark.parametrize("horizon", [0, 41])
def test_a_horizon_the_model_does_not_reach_is_a_configuration_error(
    model: StoredModel, horizon: int
) -> None:
    with pytest.raises(ConfigError, match=r"forecasts\.horizon is .* 1 to 40"):
        LocalForecaster(model, horizon=horizon)


async def test_a_killed_process_costs_one_forecast_at_most(local: LocalForecaster) -> None:
    first = await local.forecast(history_of("AAPL"), AS_OF)
    pid = local._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    try:
        second = await local.forecast(history_of("AAPL"), AS_OF)
    except ProviderUnavailable:
        second = await local.forecast(history_of("AAPL"), AS_OF)

    assert second == first
    assert local._process.pid != pid


async def test_a_hanging_process_is_given_up_at_the_deadline_and_replaced(
    model: StoredModel,
) -> None:
    forecaster = LocalForecaster(model, horizon=HORIZON, timeout_seconds=5)
    first = await forecaster.forecast(history_of("AAPL"), AS_OF)
    pid = forecaster._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    forecaster._timeout_seconds = 0.2

    with pytest.raises(ProviderUnavailable, match="its deadline passed"):
        await forecaster.forecast(history_of("AAPL"), AS_OF)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    forecaster._timeout_seconds = 20
    assert await forecaster.forecast(history_of("AAPL"), AS_OF) == first
    await forecaster.aclose()


async def test_closing_ends_the_process_and_may_be_done_twice(model: StoredModel) -> None:
    forecaster = LocalForecaster(model, horizon=HORIZON)
    await forecaster.forecast(history_of("AAPL"), AS_OF)
    pid = forecaster._process.pid
    assert pid is not None

    await forecaster.aclose()
    await forecaster.aclose()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_two_callers_at_once_each_get_their_own_answer(local: LocalForecaster) -> None:
    alone = await local.forecast(history_of("AAPL"), AS_OF)

    both = await asyncio.gather(
        local.forecast(history_of("KO"), AS_OF), local.forecast(history_of("AAPL"), AS_OF)
    )

    assert sorted(both[0]) == ["KO"]
    assert both[1] == alone


async def test_a_model_that_is_none_costs_a_forecast_not_the_daemon(model: StoredModel) -> None:
    broken = dataclasses.replace(model, onnx=b"not a model")
    forecaster = LocalForecaster(broken, horizon=HORIZON)

    with pytest.raises(ProviderUnavailable, match="the local model gave no answer"):
        await forecaster.forecast(history_of("AAPL"), AS_OF)
    await forecaster.aclose()


def test_an_input_of_the_wrong_shape_is_answered_with_a_reason(model: StoredModel) -> None:
    process = ModelProcess(model.onnx)

    with pytest.raises(ProviderUnavailable, match="the local model gave no answer"):
        process.run(np.zeros((1, 60, 3), dtype=np.float32), 20)
    process.close()


def test_a_batch_larger_than_the_pipes_is_answered_in_order(model: StoredModel) -> None:
    process = ModelProcess(model.onnx)
    contexts = np.random.default_rng(1).normal(size=(1200, 60, 20)).astype(np.float32)

    found = process.run(contexts, 60)
    last = process.run(contexts[-3:], 60)
    process.close()

    assert found.shape == (1200, 40, 11)
    np.testing.assert_allclose(found[-3:], last, rtol=1e-4, atol=1e-7)


def test_no_context_at_all_is_answered_with_a_reason(model: StoredModel) -> None:
    process = ModelProcess(model.onnx)

    with pytest.raises(ProviderUnavailable, match="a frame of 0 bytes"):
        process.run(np.zeros((0, 60, 20), dtype=np.float32), 20)
    process.close()


def test_who_comes_after_the_end_starts_no_new_process(model: StoredModel) -> None:
    process = ModelProcess(model.onnx)
    process.close()

    with pytest.raises(ProviderUnavailable, match="it was closed"):
        process.run(np.zeros((1, 60, 20), dtype=np.float32), 20)

    assert process.pid is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_the_model_process_sees_no_secret(
    model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_SECRET_KEY", "made-up")
    process = ModelProcess(model.onnx)
    process.run(np.zeros((1, 60, 20), dtype=np.float32), 20)

    with open(f"/proc/{process.pid}/environ", "rb") as file:
        environment = file.read()
    process.close()

    assert b"made-up" not in environment


def test_neither_torch_nor_onnxruntime_enters_the_daemons_process() -> None:
    code = (
        "import sys, forecasts.local, forecasts.remote, forecasts.fallback, forecasts.model_store;"
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'pandas'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_onnx_runtime_agrees_with_the_network_written_out_by_hand(model: StoredModel) -> None:
    (context,) = contexts_of([columns_of(made_up_bars("AAPL", 200))], 60)
    process = ModelProcess(model.onnx)
    answered = process.run(context[None], 20)[0]
    process.close()

    graph = onnx.load_model_from_string(model.onnx).graph
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    mean, deviation = weights["mean"], weights["deviation"]
    table = np.array(model.card.calibration.table)

    np.testing.assert_allclose(mean, model.card.scaler.mean, atol=1e-6)
    np.testing.assert_allclose(deviation, model.card.scaler.deviation, atol=1e-6)
    # Whatever the network does, it only moves and stretches the calibrated table.
    unit = np.exp(context[-1, 8]) * np.sqrt(np.arange(1, 41))[:, None]
    scaled = answered / unit
    stretch = (scaled[:, -1] - scaled[:, 0]) / (table[:, -1] - table[:, 0])
    shift = scaled[:, 5] - stretch * table[:, 5]
    np.testing.assert_allclose(scaled, shift[:, None] + stretch[:, None] * table, atol=1e-4)
