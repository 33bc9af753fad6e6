import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.sources.current_model import CurrentModel
from domain.ids import Symbol
from domain.market import Bar
from forecasts.local import LocalForecaster
from forecasts.model_files import publish
from forecasts.model_store import SHIPPED, ModelStore
from tests.support.closed_folder import closed_folder
from tests.support.forecast_scene import AS_OF, made_up_bars

AAPL = Symbol("AAPL")
HISTORY: dict[Symbol, tuple[Bar, ...]] = {AAPL: made_up_bars(AAPL, 200)}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    shipped = ModelStore().load("lstm")
    publish(tmp_path, dataclasses.replace(shipped.card, version="2"), shipped.onnx)
    return ModelStore((tmp_path, SHIPPED))


@pytest.fixture
async def engine(store: ModelStore) -> AsyncIterator[CurrentModel]:
    made = CurrentModel(
        store, model="lstm", engine=lambda: LocalForecaster(store.load("lstm"), horizon=20)
    )
    yield made
    await made.aclose()


async def test_a_promotion_is_taken_up_with_the_next_forecast(
    engine: CurrentModel, store: ModelStore
) -> None:
    before = (await engine.forecast(HISTORY, AS_OF))[AAPL]
    store.promote("lstm", "2")
    after = (await engine.forecast(HISTORY, AS_OF))[AAPL]
    store.roll_back("lstm")
    back = (await engine.forecast(HISTORY, AS_OF))[AAPL]

    assert [one.model for one in (before, after, back)] == ["lstm/1", "lstm/2", "lstm/1"]
    assert engine.card.version == "1"


async def test_a_version_that_cannot_be_loaded_leaves_the_one_in_memory(
    engine: CurrentModel, store: ModelStore, tmp_path: Path
) -> None:
    store.promote("lstm", "2")
    (tmp_path / "lstm" / "2" / "model.onnx").write_bytes(b"damaged")

    found = await engine.forecast(HISTORY, AS_OF + dt.timedelta(days=1))

    assert found[AAPL].model == "lstm/1"


@pytest.mark.parametrize("place", [".", "lstm", "lstm/2"])
async def test_a_version_that_the_daemon_may_not_read_leaves_the_one_in_memory(
    engine: CurrentModel, store: ModelStore, tmp_path: Path, place: str
) -> None:
    await engine.forecast(HISTORY, AS_OF)
    store.promote("lstm", "2")

    with closed_folder(tmp_path / place):
        found = await engine.forecast(HISTORY, AS_OF + dt.timedelta(days=1))

    assert found[AAPL].model == "lstm/1"
