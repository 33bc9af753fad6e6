import dataclasses
import datetime as dt
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from daemon.after_close.training_data import recorded_panel
from domain.errors import DataError, StateError
from forecasts.features import BarColumns, columns_of
from forecasts.model_files import StoredModel, publish
from forecasts.model_store import ModelStore
from forecasts.training.challenge import challenge, objections
from forecasts.training.windows import spans_until
from tests.support.forecast_scene import made_up_bars

Panel = dict[str, BarColumns]
LAST = dt.date(2022, 6, 30)
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def panel() -> Panel:
    names = ("AAPL", "KO", "XOM")
    return {name: columns_of(made_up_bars(name, 1100, last=LAST)) for name in names}


@pytest.fixture(scope="module")
def shipped() -> StoredModel:
    return ModelStore().load("lstm")


def test_a_model_is_no_better_than_itself(shipped: StoredModel, panel: Panel) -> None:
    found = challenge(shipped, shipped, panel, step=20)

    assert not found.is_better
    assert (found.gain, found.error) == (0.0, 0.0)
    assert "chance alone" in found.reasons[0]
    assert found.figures["candidate"] == found.figures["champion"]


@pytest.mark.slow
def test_both_are_measured_as_the_card_of_the_candidate_was(shipped: StoredModel) -> None:
    recorded = recorded_panel()
    known = {name: columns.before(dt.date(2022, 6, 1)) for name, columns in recorded.items()}

    found = challenge(shipped, shipped, known, step=40)

    told = shipped.card.metrics["40"]
    for name, value in found.figures["candidate"].items():
        assert value == pytest.approx(told[name], abs=1e-3), name
    assert found.windows == told["samples"]


def test_a_champion_that_was_fitted_to_the_windows_is_not_compared(
    shipped: StoredModel, panel: Panel
) -> None:
    fitted = (dt.date(2016, 1, 1), dt.date(2022, 3, 1))
    late = dataclasses.replace(
        shipped, card=dataclasses.replace(shipped.card, validation_span=fitted)
    )

    with pytest.raises(StateError, match="was fitted to days until 2022-03-01"):
        challenge(shipped, late, panel, step=20)


def test_too_few_days_in_common_are_said(shipped: StoredModel, panel: Panel) -> None:
    short = {name: columns.before(dt.date(2019, 4, 10)) for name, columns in panel.items()}

    with pytest.raises(DataError, match="days in common"):
        challenge(shipped, shipped, short, step=20)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"gain": 0.001}, "chance alone"),
        ({"gain": math.nan}, "chance alone"),
        ({"coverage": 0.6}, "80 % band held 60%"),
        ({"coverage": math.nan}, "80 % band"),
        ({"brier_gain": -0.004}, "Brier score"),
        ({"brier_gain": math.nan}, "Brier score"),
    ],
)
def test_only_what_is_better_beyond_chance_and_calibrated_passes(
    changes: dict[str, float], words: str | None
) -> None:
    figures = {
        "gain": 0.004,
        "margin": 0.003,
        "coverage": 0.8,
        "brier_gain": -0.001,
        "brier_margin": 0.002,
        **changes,
    }

    found = objections(figures.pop("gain"), **figures)

    assert len(found) == (words is not None)
    assert all(words in reason for reason in found if words is not None)


def test_spans_end_with_the_data_and_are_as_wide_as_the_history_allows() -> None:
    def history(years: int) -> Panel:
        dates = np.arange(np.datetime64("2022-06-01") - 365 * years, np.datetime64("2022-06-01"))
        ones = np.ones(dates.size)
        empty = np.full(dates.size, np.nan)
        return {
            "AAPL": BarColumns(
                dates=dates.astype("datetime64[D]"),
                close=ones,
                high=empty,
                low=empty,
                volume=empty,
            )
        }

    end = dt.date(2022, 6, 1)
    long, short = spans_until(history(20), end), spans_until(history(4), end)

    assert long.calibration == dt.date(2019, 1, 2)
    assert long.validation == dt.date(2016, 1, 3)
    assert (short.end - short.calibration).days == 365
    assert (short.validation - short.start).days == 730
    with pytest.raises(DataError, match="two years of bars"):
        spans_until(history(1), end)


def test_models_can_be_rolled_back_one_promotion_after_the_other(
    shipped: StoredModel, tmp_path: Path
) -> None:
    for version in ("1", "2", "3"):
        publish(tmp_path, dataclasses.replace(shipped.card, version=version), shipped.onnx)
    store = ModelStore([tmp_path])
    for version in ("1", "2", "3"):
        store.promote("lstm", version)

    assert [store.roll_back("lstm"), store.roll_back("lstm")] == ["2", "1"]
    with pytest.raises(StateError, match="lstm/1 has none before it"):
        store.roll_back("lstm")


def test_training_works_where_no_memory_may_be_written_and_executed() -> None:
    code = (
        "import ctypes, sys; forbid = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0);"
        "from forecasts.training.sandbox import fit_in; import torch;"
        "found = fit_in(); torch.nn.LSTM(2, 4)(torch.zeros(1, 3, 2))[0].sum().backward();"
        "sys.exit(0 if found == (forbid == 0) else 3)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, timeout=120, check=False, capture_output=True
    )

    assert done.returncode == 0, done.stderr.decode()[-500:]
