import dataclasses
import datetime as dt
import itertools
from pathlib import Path

import numpy as np
import pytest

from domain.errors import ConfigError, DataError
from forecasts.features import FEATURES, columns_of
from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore
from tests.support.forecast_scene import made_up_bars

pytest.importorskip("torch", reason="training needs the extra `train`")

from forecasts.training.config import Spans, TrainingConfig
from forecasts.training.dataset import Panel, build_samples
from forecasts.training.fitting import Epoch
from forecasts.training.train import TrainedModel, data_hash, publish_model, train

LAST = dt.date(2022, 6, 30)
SPANS = Spans(
    start=dt.date(2019, 1, 1),
    validation=dt.date(2020, 6, 1),
    calibration=dt.date(2021, 1, 1),
    end=dt.date(2022, 6, 1),
)
TINY = TrainingConfig(
    spans=SPANS,
    lookback=8,
    horizon=3,
    hidden=4,
    batch_size=64,
    samples_per_epoch_fraction=0.3,
    max_epochs=2,
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    names = ("AAPL", "KO", "XOM")
    return {name: columns_of(made_up_bars(name, 1000, last=LAST)) for name in names}


@pytest.fixture(scope="module")
def trained(panel: Panel) -> TrainedModel:
    return train(TINY, panel, version="1")


def test_a_trained_model_can_be_published_loaded_and_run(
    trained: TrainedModel, tmp_path: Path
) -> None:
    publish_model(trained, tmp_path)
    store = ModelStore([tmp_path])
    store.promote("lstm", "1")

    stored = store.load("lstm")
    process = ModelProcess(stored.onnx)
    one = process.run(np.zeros((1, 8, 20), dtype=np.float32), 20)
    many = process.run(np.zeros((5, 8, 20), dtype=np.float32), 20)
    process.close()

    assert one.shape == (1, 3, 11)
    assert many.shape == (5, 3, 11)
    np.testing.assert_allclose(many, np.repeat(one, 5, axis=0), rtol=1e-5)
    assert (np.diff(one[0], axis=1) > 0).all()


def test_the_same_seed_gives_the_same_model_and_later_prices_change_nothing(
    trained: TrainedModel, panel: Panel
) -> None:
    seen: list[Epoch] = []
    shortened = {name: columns.before(SPANS.end) for name, columns in panel.items()}

    again = train(TINY, shortened, version="1", progress=seen.append)

    assert again.card.weights_sha256 == trained.card.weights_sha256
    assert again.onnx == trained.onnx
    assert again.card == trained.card
    assert tuple(seen) == trained.fit.epochs
    assert [epoch.number for epoch in seen] == [0, 1]


def test_another_seed_gives_other_weights(trained: TrainedModel, panel: Panel) -> None:
    other = train(dataclasses.replace(TINY, seed=2), panel, version="1")

    assert other.card.weights_sha256 != trained.card.weights_sha256


def test_the_card_tells_the_whole_story(trained: TrainedModel, panel: Panel) -> None:
    card = trained.card

    assert card.features == FEATURES
    assert card.data_cutoff == dt.date(2022, 5, 31)
    assert card.symbols == ("AAPL", "KO", "XOM")
    assert card.data_sha256 == data_hash({k: v.before(SPANS.end) for k, v in panel.items()})
    assert card.config["seed"] == 1
    assert card.calibration.samples > 500
    assert len(card.calibration.table) == 3
    assert card.metrics.keys() == {"1"}
    assert card.metrics["1"]["coverage_of_80_band"] == pytest.approx(0.8, abs=0.12)


def test_the_exported_file_names_no_path_of_this_machine(trained: TrainedModel) -> None:
    assert str(Path.cwd()).encode() not in trained.onnx
    assert b"site-packages" not in trained.onnx


def test_no_outcome_of_one_span_reaches_into_the_next(panel: Panel) -> None:
    samples = build_samples(panel, lookback=8, horizon=3)
    edges = (SPANS.start, SPANS.validation, SPANS.calibration, SPANS.end)

    for start, end in itertools.pairwise(edges):
        span = samples.between(start, end)
        assert span.size > 0
        assert (span.dates >= np.datetime64(start)).all()
        assert (span.matured < np.datetime64(end)).all()
        assert (span.dates < span.matured).all()


def test_targets_are_the_returns_that_followed(panel: Panel) -> None:
    samples = build_samples({"KO": panel["KO"]}, lookback=8, horizon=3)
    closes, dates = panel["KO"].close, panel["KO"].dates
    at = int(np.searchsorted(dates, samples.dates[100]))

    expected = np.log(closes[at + 1 : at + 4] / closes[at])
    np.testing.assert_allclose(samples.targets[100], expected, rtol=1e-5)
    assert samples.matured[100] == dates[at + 3]


def test_too_short_a_history_is_a_sentence(panel: Panel) -> None:
    short = {"KO": panel["KO"].last(100)}

    with pytest.raises(DataError, match="pass a longer history"):
        train(TINY, short, version="1")


def test_a_span_without_data_is_a_sentence(panel: Panel) -> None:
    early = dataclasses.replace(TINY, spans=Spans())

    with pytest.raises(DataError, match="holds no sample"):
        train(early, panel, version="1")


def test_spans_must_rise() -> None:
    with pytest.raises(ConfigError, match="spans must rise"):
        Spans(validation=dt.date(2020, 1, 1), calibration=dt.date(2019, 1, 1))


def test_an_unknown_model_is_a_sentence(panel: Panel) -> None:
    with pytest.raises(ConfigError, match="no model is called 'magic'; models: "):
        train(dataclasses.replace(TINY, model="magic"), panel, version="1")


@pytest.mark.parametrize(
    "changes", [{"samples_per_epoch_fraction": 0.0}, {"batch_size": 0}, {"levels": (0.1, 0.9)}]
)
def test_a_configuration_that_cannot_be_trained_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
