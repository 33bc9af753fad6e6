import contextlib
import dataclasses
import datetime as dt
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from daemon import cli
from daemon.command_line import hoist
from domain.ids import Symbol
from forecasts.card import ModelCard
from forecasts.model_files import publish
from forecasts.model_store import SHIPPED, ModelStore
from marketdata.store import BarStore, Provenance
from tests.support.forecast_scene import made_up_bars
from tests.support.model_server import CARD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a configuration, with models of its own."""
    shutil.copytree(SHIPPED, tmp_path / "var" / "models")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OPENBELL")]:
        monkeypatch.delenv(name)
    return tmp_path


def openbell(_: Path, *arguments: str) -> Done:
    """Run a command in this process: a new one would take a second each time."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        status = cli._run(hoist(["models", *arguments]))
    return Done(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def document(home: Path, *arguments: str) -> Any:
    done = openbell(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def registry(home: Path) -> ModelStore:
    return ModelStore([home / "var" / "models"])


def add_version(home: Path, version: str, *, pinball: float = 0.0, **changes: Any) -> ModelCard:
    """Publish a candidate whose losses are ``pinball`` lower."""
    stored = registry(home).load("lstm", "1")
    metrics = {
        step: {**figures, "pinball": figures["pinball"] - pinball}
        for step, figures in stored.card.metrics.items()
    }
    card = dataclasses.replace(stored.card, version=version, metrics=metrics, **changes)
    publish(home / "var" / "models", card, stored.onnx)
    return card


def fits(text: str) -> bool:
    return all(len(line) <= 100 for line in text.splitlines())


def test_the_list_names_every_version_and_the_one_in_use(home: Path) -> None:
    add_version(home, "2")

    rows = document(home)
    assert rows == document(home, "list")
    assert [(row["name"], row["version"], row["in_use"]) for row in rows] == [
        ("lstm", "1", True),
        ("lstm", "2", False),
    ]
    assert rows[0]["model_hash"] == CARD.sha256
    assert rows[0]["data_cutoff"] == "2022-05-31"
    told = openbell(home).stdout
    assert "lstm/1" in told
    assert fits(told)


def test_a_damaged_version_is_in_the_list_with_its_problem(home: Path) -> None:
    add_version(home, "2")
    (home / "var" / "models" / "lstm" / "2" / "model.onnx").write_bytes(b"damaged")

    rows = document(home, "list")
    told = openbell(home, "list").stdout

    assert rows[0]["problem"] is None
    assert "does not match its card" in rows[1]["problem"]
    assert "lstm/2" in told
    assert fits(told)


def test_show_tells_what_a_model_eats_and_how_good_it_was(home: Path) -> None:
    shown = document(home, "show", "lstm")
    told = openbell(home, "show", "lstm").stdout

    assert shown["levels"] == list(CARD.levels)
    assert list(shown["metrics"]) == ["1", "5", "20", "40"]
    assert CARD.sha256 in told
    assert "calibrated on" in told
    assert fits(told)


def test_compare_sets_models_beside_their_baselines_and_names_the_verdict(home: Path) -> None:
    add_version(home, "2", pinball=0.01)

    (table,) = document(home, "compare", "lstm/1", "lstm/2", "--step", "20")
    told = openbell(home, "compare", "lstm/1", "lstm/2").stdout

    assert table["step"] == 20
    assert [row["name"] for row in table["rows"] if not row["is_baseline"]] == ["lstm/1", "lstm/2"]
    assert [row["name"] for row in table["rows"] if row["is_baseline"]]
    assert "No edge found" in table["verdict"]
    assert "No edge found in the direction 40 sessions ahead" in told
    assert "pinball" in told
    assert fits(told)


def test_models_measured_on_other_windows_stand_in_another_table(home: Path) -> None:
    add_version(home, "2", data_sha256="0" * 64)

    tables = document(home, "compare", "lstm/1", "lstm/2")
    told = openbell(home, "compare", "lstm/1", "lstm/2").stdout

    assert len(tables) == 2
    assert "different windows" in told


def test_a_better_version_is_promoted_and_an_older_one_comes_back_at_once(home: Path) -> None:
    add_version(home, "2", pinball=0.01)

    assert document(home, "promote", "lstm", "2") == {
        "name": "lstm",
        "version": "2",
        "before": "1",
        "overruled": [],
    }
    assert registry(home).current("lstm") == "2"
    assert "lstm/1 is in use; before it 2" in openbell(home, "promote", "lstm", "1").stdout
    assert registry(home).current("lstm") == "1"


def test_a_worse_version_is_promoted_only_regardless(home: Path) -> None:
    add_version(home, "2", pinball=-0.01)

    refused = openbell(home, "promote", "lstm", "2")
    assert refused.returncode == 1
    assert "is not promoted: pinball" in refused.stderr
    assert "--regardless overrules the rule" in refused.stderr
    assert registry(home).current("lstm") == "1"

    overruled = document(home, "promote", "lstm", "2", "--regardless")["overruled"]
    assert len(overruled) == 1
    assert registry(home).current("lstm") == "2"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"horizon": 24}, "forecasts.horizon is 40, but model lstm/2 forecasts 1 to 24 sessions"),
        ({"lookback": 720}, "needs 840 bars of a symbol, and a decision reads 540"),
    ],
)
def test_a_version_that_the_daemon_could_not_use_is_not_promoted(
    home: Path, changes: dict[str, int], problem: str
) -> None:
    table = CARD.calibration.table[: changes.get("horizon", CARD.horizon)]
    calibration = dataclasses.replace(CARD.calibration, table=table)
    add_version(home, "2", calibration=calibration, **changes)
    (home / "config.toml").write_text('[universe]\nsymbols = ["KO"]\n')

    refused = openbell(home, "promote", "lstm", "2", "--regardless")

    assert refused.returncode == 78
    assert problem in refused.stderr
    assert registry(home).current("lstm") == "1"
    # A GPU host has no configuration to go by.
    (home / "config.toml").unlink()
    assert openbell(home, "promote", "lstm", "2", "--regardless").returncode == 0


def test_a_version_is_measured_against_the_one_in_use(home: Path) -> None:
    add_version(home, "2")
    asked = Provenance(
        source="yahoo",
        adjustment="split",
        fetched_at=dt.datetime(2022, 6, 30, tzinfo=dt.UTC),
        asked_from=dt.date(2015, 1, 1),
    )
    bars = made_up_bars("SPY", 1100, last=dt.date(2022, 6, 30))
    BarStore(home / "var" / "bars").write(Symbol("SPY"), bars, asked)

    found = document(home, "challenge", "lstm", "2", "--stored")
    told = openbell(home, "challenge", "lstm", "2", "--stored").stdout
    itself = openbell(home, "challenge", "lstm", "1")

    assert [line["model"] for line in found["models"]] == ["lstm/2", "lstm/1"]
    assert (found["is_better"], found["step"]) == (False, 40)
    assert "lstm/2 is not better: its loss is 0.00000 higher" in told
    assert fits(told)
    assert itself.returncode == 64
    assert "is the one in use" in itself.stderr


def test_a_promotion_is_taken_back_by_one_command(home: Path) -> None:
    add_version(home, "2", pinball=0.01)
    document(home, "promote", "lstm", "2")

    back = document(home, "rollback", "lstm")
    again = openbell(home, "rollback", "lstm")

    assert back == {"name": "lstm", "version": "1", "before": "2"}
    assert registry(home).current("lstm") == "1"
    assert again.returncode == 78
    assert "lstm/1 has none before it" in again.stderr


def test_a_version_that_the_daemon_could_not_use_does_not_come_back(home: Path) -> None:
    longer = (*CARD.calibration.table, *CARD.calibration.table[-1:] * 20)
    calibration = dataclasses.replace(CARD.calibration, table=longer)
    add_version(home, "2", horizon=60, calibration=calibration)
    document(home, "promote", "lstm", "2", "--regardless")
    (home / "config.toml").write_text('[universe]\nsymbols = ["KO"]\n[forecasts]\nhorizon = 60\n')

    refused = openbell(home, "rollback", "lstm")

    assert refused.returncode == 78
    assert "horizon is 60, but model lstm/1 forecasts 1 to 40 sessions" in refused.stderr
    assert registry(home).current("lstm") == "2"
    (home / "config.toml").unlink()
    assert document(home, "rollback", "lstm")["version"] == "1"


def test_the_model_of_the_server_is_kept_to_the_configuration_too(home: Path) -> None:
    table = CARD.calibration.table[:24]
    calibration = dataclasses.replace(CARD.calibration, table=table)
    add_version(home, "2", calibration=calibration, horizon=24)
    (home / "config.toml").write_text(
        '[universe]\nsymbols = ["KO"]\n[forecasts.local]\nmodel = "gru"\n'
        '[forecasts.remote]\nurl = "http://127.0.0.1:8000"\nmodel = "lstm"\n'
    )

    refused = openbell(home, "promote", "lstm", "2", "--regardless")

    assert refused.returncode == 78
    assert "model lstm/2 forecasts 1 to 24 sessions" in refused.stderr


def test_a_model_that_the_configuration_does_not_name_is_not_called_taken_up(home: Path) -> None:
    stored = registry(home).load("lstm")
    publish(home / "var" / "models", dataclasses.replace(stored.card, name="gru"), stored.onnx)
    (home / "config.toml").write_text('[universe]\nsymbols = ["KO"]\n')

    of_another = openbell(home, "promote", "gru", "1").stdout
    of_ours = openbell(home, "promote", "lstm", "1").stdout

    assert "takes it up" not in of_another
    assert 'forecasts.local.model = "lstm"' in of_another
    assert "takes it up with its next forecast" in of_ours
    assert fits(of_another)


def test_a_damaged_pointer_is_mended_by_a_promotion(home: Path) -> None:
    (home / "var" / "models" / "lstm" / "current").write_text("latest")

    assert document(home, "promote", "lstm", "1")["before"] is None
    assert registry(home).current("lstm") == "1"


@pytest.mark.parametrize("form", ["onnx", "triton", "modelscope"])
def test_an_export_tells_its_files_and_overwrites_nothing(home: Path, form: str) -> None:
    exported = document(home, "export", "lstm", "--format", form, "--out", "there")
    again = openbell(home, "export", "lstm", "--format", form, "--out", "there")

    assert exported["model"] == "lstm/1"
    assert all((home / "there" / file).is_file() for file in exported["files"])
    assert any(file.endswith("model.onnx") for file in exported["files"])
    assert again.returncode == 78
    assert "there exists" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("show", "nhits"), 78, "no model is called 'nhits'"),
        (("show", "lstm", "--version", "9"), 78, "has no version 9"),
        (("promote", "lstm", "9"), 78, "has no version 9"),
        (("compare", "--step", "3"), 78, "not 3"),
        (("export", "lstm", "--format", "zip", "--out", "x"), 64, "choose from modelscope, onnx"),
        (("export", "lstm"), 64, "--format"),
        (("burn",), 64, "burn"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    home: Path, arguments: tuple[str, ...], status: int, text: str
) -> None:
    done = openbell(home, *arguments)

    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("home")
def test_a_network_is_not_served_without_a_token() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as err:
        status = cli._run(["serve-models", "--host", "192.0.2.1"])

    assert status == 78
    assert "OPENBELL_FORECAST_TOKEN must hold at least 20 characters" in err.getvalue()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["serve-models", "--device", "tpu"], "--device tpu: choose cpu or cuda"),
        (["serve-models", "--device", "cuda"], "torch finds no CUDA device here"),
        (["train", "lstm", "--features", "mood"], "choose from bars, bars+technical"),
        (["train", "lstm", "--window", "168"], "two numbers are needed, such as 168:24"),
        (["train", "lstm", "--window", "5:24"], "the first must lie between 12 and 2000"),
        (["train", "lstm", "--window", "168:99"], "the second between 1 and 60"),
        (["train", "prophet"], "no such model"),
    ],
)
def test_what_cannot_be_trained_or_served_is_one_sentence(
    arguments: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with contextlib.redirect_stderr(io.StringIO()) as err:
        status = cli._run(arguments)

    assert status == 64
    assert text in err.getvalue()
    assert len(err.getvalue().splitlines()) == 1


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--workers", "0"], ["--queue", "0"]])
def test_options_out_of_range_are_a_usage_error(arguments: list[str]) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        assert cli._run(["serve-models", *arguments]) == 64


def test_a_folder_that_is_no_model_is_none(home: Path) -> None:
    shutil.copytree(home / "var" / "models" / "lstm", home / "var" / "models" / "lstm_old")

    assert [row["name"] for row in document(home)] == ["lstm"]
    assert registry(home).names() == ("lstm",)
