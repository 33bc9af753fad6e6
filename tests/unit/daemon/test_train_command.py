"""``openbell train`` as typed, on a few stored bars."""

import contextlib
import datetime as dt
import io
import os
import stat
from pathlib import Path

import pytest

from daemon import cli
from daemon.after_close.training_data import own_panel
from daemon.command_line import Options, hoist
from daemon.commands import training
from daemon.commands.model_config import config_or_defaults
from domain.ids import Symbol
from forecasts.model_store import SHIPPED, ModelStore
from marketdata.store import BarStore, Provenance
from tests.support.forecast_scene import made_up_bars

LAST = dt.date(2022, 6, 24)
TINY = ("--stored", "--epochs", "1", "--window", "12:3")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OPENBELL")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBELL__UNIVERSE__SYMBOLS", '["KO"]')
    return tmp_path


def store_bars(home: Path, count: int = 760) -> None:
    asked = Provenance(
        source="yahoo",
        adjustment="split",
        fetched_at=dt.datetime(2022, 6, 25, tzinfo=dt.UTC),
        asked_from=dt.date(2015, 1, 1),
    )
    bars = made_up_bars("KO", count, last=LAST)
    BarStore(home / "var" / "bars").write(Symbol("KO"), bars, asked)


def openbell(*arguments: str) -> tuple[int, str, str]:
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        status = cli._run(hoist(["train", *arguments]))
    return status, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_a_model_is_trained_on_stored_bars_and_put_beside_the_shipped_one(home: Path) -> None:
    store_bars(home)

    status, told, problem = openbell("lstm", *TINY, "--until", "2022-06-20")

    assert status == 0, problem
    assert "Put it in use: openbell models promote lstm 2" in told
    assert "No edge found in the direction 1 sessions ahead" in told
    store = ModelStore((home / "var" / "models", SHIPPED))
    card = store.card("lstm", "2")
    assert (card.lookback, card.horizon, card.symbols) == (12, 3, ("KO",))
    assert card.data_cutoff == dt.date(2022, 6, 17)
    assert card.calibration_span[1] == dt.date(2022, 6, 19)
    assert store.current("lstm") == "1"
    assert not list((home / "var" / "models").glob("*.checkpoint"))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("transformer",), 64, "no such model; choose from"),
        (("lstm", "--features", "tea leaves"), 64, "choose from bars"),
        (("lstm", "--window", "60"), 64, "two numbers are needed"),
        (("lstm", *TINY, "--until", "soon"), 64, "--until soon: not a date"),
        (("lstm", *TINY, "--until", "2020-01-01"), 1, "two years of bars"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    home: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    store_bars(home)

    found, _, problem = openbell(*arguments)

    assert (found, problem.count("\n")) == (status, 1)
    assert words in problem


def test_bars_in_files_of_ones_own_are_trained_on_where_they_lie(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What some vendor was once asked for is not what the daemon decides from.
    store_bars(home, 30)
    monkeypatch.setenv("OPENBELL__MARKETDATA__PROVIDER", "csv")
    monkeypatch.setenv("OPENBELL__MARKETDATA__CSV__DIRECTORY", "mine")
    (home / "mine").mkdir()
    missing = openbell("lstm", *TINY)
    bars = made_up_bars("KO", 300, last=LAST)
    rows = "".join(f"{bar.at:%Y-%m-%d},{bar.close}\n" for bar in bars)
    (home / "mine" / "KO.csv").write_text(f"date,close\n{rows}")

    panel = own_panel(config_or_defaults(Options(config=None, json=False)))
    too_short = openbell("lstm", *TINY)

    assert missing[2].endswith("mine has no file of KO; put them there\n")
    assert [(symbol, columns.last_date) for symbol, columns in panel.items()] == [("KO", LAST)]
    assert panel["KO"].close.size == 300
    assert f"begins on {bars[0].at:%Y-%m-%d}" in too_short[2]


def test_without_stored_bars_the_next_step_is_named(home: Path) -> None:
    status, _, problem = openbell("lstm", *TINY)

    assert status == 1
    assert "run `openbell fetch --from" in problem


def test_a_model_before_the_first_start_leaves_a_state_directory_that_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", "promoted")
    before = os.umask(0o002)  # as many a distribution gives its users
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            promoted = cli._run(["models", "promote", "lstm", "1"])
        monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", "trained")
        monkeypatch.setattr(training, "_train", _leave_a_folder)
        monkeypatch.setattr(training, "_publish", lambda *_: None)
        monkeypatch.setattr(training, "_panel", lambda *_, **__: {})
        trained = openbell("lstm")
    finally:
        os.umask(before)

    assert (promoted, trained) == (0, (0, "", ""))
    for name in ("promoted", "trained"):
        assert (home / name / "models").is_dir()
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700


def _leave_a_folder(root: Path, *_: object, **__: object) -> None:
    root.mkdir(parents=True)
