import dataclasses
import datetime as dt
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from domain.errors import ConfigError, DataError, StateError
from forecasts.features import FeatureSet, columns_of
from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore
from forecasts.training.baselines import recent_quantiles
from forecasts.training.checkpoint import remove_checkpoint
from forecasts.training.config import ENSEMBLE, Spans, TrainingConfig
from forecasts.training.dataset import Panel, build_samples
from forecasts.training.export import to_onnx
from forecasts.training.fitting import Epoch, fit
from forecasts.training.networks import MODELS, build_network
from forecasts.training.train import (
    TrainedModel,
    data_hash,
    next_version,
    publish_model,
    train,
)
from forecasts.training.walkforward import spans_before, walk_forward
from tests.support.forecast_scene import made_up_bars

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

    assert card.features == FeatureSet.BARS.names
    assert card.config["features"] == "bars"
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


def test_an_interrupted_run_ends_with_the_weights_it_would_have_ended_with(
    panel: Panel, tmp_path: Path
) -> None:
    config = dataclasses.replace(TINY, max_epochs=4, patience=4)
    samples = build_samples(panel, lookback=8, horizon=3)
    training = samples.between(SPANS.start, SPANS.validation)
    validation = samples.between(SPANS.validation, SPANS.calibration)
    whole = fit(training, validation, config)

    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(training, validation, config, interrupt, tmp_path / "run.safetensors")
    resumed = fit(training, validation, config, None, tmp_path / "run.safetensors")

    assert resumed.epochs == whole.epochs
    assert resumed.best_epoch == whole.best_epoch
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name


def test_a_checkpoint_of_another_configuration_is_refused(panel: Panel, tmp_path: Path) -> None:
    samples = build_samples(panel, lookback=8, horizon=3)
    training = samples.between(SPANS.start, SPANS.validation)
    validation = samples.between(SPANS.validation, SPANS.calibration)
    config = dataclasses.replace(TINY, max_epochs=1)
    path = tmp_path / "run.safetensors"
    fit(training, validation, config, None, path)

    with pytest.raises(ConfigError, match="of another configuration or of other bars; remove"):
        fit(training, validation, dataclasses.replace(config, seed=9), None, path)
    later = samples.between(SPANS.start, SPANS.validation - dt.timedelta(days=20))
    with pytest.raises(ConfigError, match="of another configuration or of other bars; remove"):
        fit(later, validation, config, None, path)
    path.write_bytes(b"garbage")
    with pytest.raises(StateError, match="cannot be read; remove it"):
        fit(training, validation, config, None, path)


def test_the_checkpoints_of_an_ensemble_go_with_its_own(panel: Panel, tmp_path: Path) -> None:
    samples = build_samples(panel, lookback=8, horizon=3)
    training = samples.between(SPANS.start, SPANS.validation)
    validation = samples.between(SPANS.validation, SPANS.calibration)
    config = dataclasses.replace(TINY, model=ENSEMBLE, max_epochs=1, members=2)
    path = tmp_path / f"{ENSEMBLE}.checkpoint"
    fit(training, validation, config, None, path)
    assert len(list(tmp_path.iterdir())) == 2

    remove_checkpoint(path)

    assert list(tmp_path.iterdir()) == []


def test_a_company_without_a_bar_before_the_end_has_no_part_in_the_model(
    trained: TrainedModel, panel: Panel
) -> None:
    listed_later = columns_of(made_up_bars("NEW", 10, last=LAST))

    found = train(TINY, {**panel, "NEW": listed_later}, version="1")

    assert found.card.symbols == ("AAPL", "KO", "XOM")
    assert found.card.weights_sha256 == trained.card.weights_sha256


@pytest.mark.parametrize("model", MODELS)
def test_every_model_starts_at_its_base_and_learns(model: str, panel: Panel) -> None:
    config = dataclasses.replace(TINY, model=model, max_epochs=1, members=2)
    samples = build_samples(panel, lookback=8, horizon=3)
    training = samples.between(SPANS.start, SPANS.validation)
    validation = samples.between(SPANS.validation, SPANS.calibration)

    single = "lstm" if model == ENSEMBLE else model
    base = torch.linspace(-1, 1, 11).repeat(3, 1)
    fresh = build_network(
        dataclasses.replace(config, model=single),
        mean=torch.zeros(20),
        deviation=torch.ones(20),
        base=base,
    ).eval()
    found = fit(training, validation, config)
    answer = found.network.scaled_quantiles(torch.from_numpy(training.contexts(np.arange(5))))

    untrained = fresh.scaled_quantiles(torch.randn(4, 8, 20))
    torch.testing.assert_close(untrained, base.expand(4, 3, 11))
    assert answer.shape == (5, 3, 11)
    assert (answer.diff(dim=2) > 0).all()
    assert not torch.equal(answer[0], answer[1])


@pytest.mark.parametrize("model", ["nhits", "tft"])
def test_models_that_export_otherwise_agree_with_onnx_runtime(model: str) -> None:
    config = dataclasses.replace(TINY, model=model)
    torch.manual_seed(3)
    network = build_network(
        config,
        mean=torch.zeros(20),
        deviation=torch.ones(20),
        base=torch.linspace(-1, 1, 11).repeat(3, 1),
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    context = torch.randn(5, 8, 20)

    process = ModelProcess(to_onnx(network, 8))
    answered = process.run(context.numpy(), 20)
    process.close()

    with torch.no_grad():
        np.testing.assert_allclose(answered, network(context).numpy(), rtol=1e-4, atol=1e-6)


def test_walk_forward_tests_each_block_on_years_its_model_has_not_seen(panel: Panel) -> None:
    config = dataclasses.replace(TINY, spans=SPANS, max_epochs=1)
    spans = spans_before(2030)

    assert (spans.validation.year, spans.calibration.year, spans.end.year) == (2024, 2027, 2030)
    with pytest.raises(DataError, match="holds no sample"):
        list(walk_forward(config, panel, [2010]))


def test_walk_forward_gives_the_figures_of_each_block() -> None:
    names = ("AAPL", "KO")
    long = {name: columns_of(made_up_bars(name, 2600, last=LAST)) for name in names}
    config = dataclasses.replace(TINY, max_epochs=1)

    (block,) = walk_forward(config, long, [2021], block_years=1)

    assert (block.start, block.end) == (dt.date(2021, 1, 1), dt.date(2022, 1, 1))
    assert block.figures["1"]["samples"] == pytest.approx(2 * 261, abs=4)
    assert block.figures["1"]["coverage_of_80_band"] == pytest.approx(0.8, abs=0.1)


def test_plots_are_published_beside_the_card(trained: TrainedModel, tmp_path: Path) -> None:
    directory = publish_model(trained, tmp_path)

    for name in ("losses.png", "calibration.png"):
        assert (directory / name).read_bytes().startswith(b"\x89PNG")
    assert next_version(tmp_path, "lstm") == "2"
    assert next_version(tmp_path, "gru") == "1"


def test_recent_quantiles_are_those_of_the_last_168_returns(panel: Panel) -> None:
    samples = build_samples({"KO": panel["KO"]}, lookback=8, horizon=3)
    found = recent_quantiles(samples, 3, (0.1, 0.5, 0.9))
    level = np.log(panel["KO"].close)
    end = int(samples.ends[200])

    returns = [level[end - back] - level[end - back - 3] for back in range(168)]

    np.testing.assert_allclose(found[200], np.quantile(returns, (0.1, 0.5, 0.9)))
    assert np.isnan(found[0]).all()


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
