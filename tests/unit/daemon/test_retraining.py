"""The weekly training: bounded, told, and promoted by rule only."""

import dataclasses
import datetime as dt
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from daemon.after_close.retraining import Retraining
from daemon.config import Config, RetrainingConfig, load
from daemon.schedule import DueRun, RunKind
from domain.clock import ManualClock
from domain.errors import ProviderUnavailable, RunSkipped
from domain.ids import Symbol
from domain.market import Session
from forecasts.model_store import SHIPPED, ModelStore
from marketdata.store import BarStore, Provenance
from tests.support.forecast_scene import made_up_bars

REPOSITORY = Path(__file__).parents[3]
SYMBOLS = ("AAPL", "KO", "XOM")
CLOSE = dt.datetime(2022, 6, 24, 20, tzinfo=dt.UTC)
SESSION = Session(
    date=CLOSE.date(), open=CLOSE - dt.timedelta(hours=6.5), close=CLOSE, is_half_day=False
)
DUE = DueRun(
    kind=RunKind.RETRAINING,
    session=SESSION,
    at=CLOSE + dt.timedelta(hours=1),
    latest=CLOSE + dt.timedelta(days=2),
)
OUTCOME = {
    "candidate": "lstm/2",
    "champion": "lstm/1",
    "is_better": True,
    "is_promoted": True,
    "reasons": [],
    "gain": 0.004,
    "margin": 0.003,
}
TINY = {
    "lookback": 8,
    "horizon": 3,
    "hidden": 4,
    "batch_size": 64,
    "samples_per_epoch_fraction": 0.3,
    "max_epochs": 1,
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    directory = tmp_path / "var"
    found = load(
        REPOSITORY / "config.toml",
        {
            "OPENBELL__STATE__DIRECTORY": str(directory),
            "OPENBELL__MARKETDATA__PROVIDER": "alpaca",
            "OPENBELL__FORECASTS__HORIZON": "3",
        },
    )
    universe = dataclasses.replace(found.universe, symbols=SYMBOLS)
    return dataclasses.replace(found, universe=universe)


class Scene:
    def __init__(self, config: Config, code: str = "", **settings: Any) -> None:
        chosen = RetrainingConfig(enabled=True, **settings)
        forecasts = dataclasses.replace(config.forecasts, retraining=chosen)
        self.notes: list[str] = []
        self.is_stopping = False
        self.now = DUE.at
        self.clock = ManualClock(CLOSE)
        self.retraining = Retraining(
            dataclasses.replace(config, forecasts=forecasts),
            note=lambda kind, text: self.notes.append(f"{kind}: {text}"),
            is_stopping=lambda: self.is_stopping,
            now=lambda: self.now,
            recipe=TINY,
            clock=self.clock,
            **({"child": ("-c", code)} if code else {}),
        )

    async def run(self) -> str:
        return await self.retraining.jobs()[RunKind.RETRAINING](DUE, "2022-06-24-retraining")


def answering(**changes: Any) -> str:
    return f"import sys; sys.stdin.read(); print('''{json.dumps(OUTCOME | changes)}''')"


def test_it_is_off_unless_it_is_switched_on(config: Config) -> None:
    retraining = Retraining(
        config, note=lambda *_: None, is_stopping=lambda: False, now=lambda: CLOSE
    )

    assert retraining.jobs() == {}


async def test_a_promotion_is_told_with_the_way_back(config: Config) -> None:
    scene = Scene(config, answering())

    reason = await scene.run()

    assert reason.startswith("lstm/2 is in use, before it lstm/1: its loss is 0.00400 lower")
    (note,) = scene.notes
    assert note.startswith("model.promoted: lstm/2 is in use, before it lstm/1; ")
    assert "`openbell models rollback` takes it back" in note


async def test_the_first_model_of_a_name_has_none_to_beat(config: Config) -> None:
    scene = Scene(config, answering(candidate="gru/1", champion=None))

    assert await scene.run() == "gru/1 is the first of its name in use"
    assert scene.notes == ["model.promoted: gru/1 is the first of its name in use"]


async def test_a_candidate_that_is_not_better_stays_out_with_its_reasons(config: Config) -> None:
    reasons = ["its loss is 0.00001 lower, and chance alone makes 0.00300"]
    scene = Scene(config, answering(is_better=False, is_promoted=False, reasons=reasons))

    assert await scene.run() == f"lstm/2 does not replace lstm/1: {reasons[0]}"
    assert scene.notes == []


@pytest.mark.parametrize("what", ["subprocess.Popen", "tempfile.TemporaryFile"])
async def test_a_process_that_cannot_be_started_fails_the_run_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(what, refuse)

    with pytest.raises(ProviderUnavailable, match="lstm could not be started: Cannot allocate"):
        await Scene(config, answering()).run()


async def test_an_answer_that_is_none_fails_the_run_alone(config: Config) -> None:
    scene = Scene(config, "import sys; sys.stdin.read(); print('a warning of some library')")

    with pytest.raises(ProviderUnavailable, match="lstm: its process answered something else"):
        await scene.run()


async def test_the_process_hears_what_to_train_and_no_secret(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_SECRET_KEY", "top")
    code = (
        "import json, os, resource, sys; told = json.load(sys.stdin); told.pop('recipe');"
        "told['secrets'] = [n for n in os.environ if 'SECRET' in n];"
        "told['nice'] = os.getpriority(os.PRIO_PROCESS, 0);"
        f"print(json.dumps({OUTCOME!r} | {{'is_promoted': False, 'is_better': False,"
        "'reasons': [json.dumps(told)]}))"
    )

    told = json.loads((await Scene(config, code).run()).split(": ", 1)[1])

    assert (told["model"], told["until"], told["step"]) == ("lstm", "2022-06-25", 3)
    assert told["promote"] is True
    assert told["symbols"] == list(SYMBOLS)
    assert told["secrets"] == []
    assert told["nice"] >= 10


async def test_the_process_reads_the_files_that_the_daemon_decides_from(
    config: Config, tmp_path: Path
) -> None:
    files = dataclasses.replace(config.marketdata.csv, directory=str(tmp_path / "mine"))
    market = dataclasses.replace(config.marketdata, provider="csv", csv=files)
    config = dataclasses.replace(config, marketdata=market)
    code = (
        "import json, sys; told = json.load(sys.stdin);"
        f"print(json.dumps({OUTCOME!r} | {{'is_promoted': False, 'is_better': False,"
        "'reasons': [json.dumps(told)]}))"
    )

    told = json.loads((await Scene(config, code).run()).split(": ", 1)[1])

    assert (told["bars"], told["are_files"]) == (str(tmp_path / "mine"), True)


async def test_a_training_that_fails_says_its_last_words(config: Config) -> None:
    scene = Scene(config, "import sys; sys.exit('no bars are stored; run `openbell fetch`')")

    with pytest.raises(ProviderUnavailable, match="training lstm: no bars are stored"):
        await scene.run()


async def test_a_training_that_wants_too_much_memory_is_refused_it(config: Config) -> None:
    code = "import time; time.sleep(0.5); bytearray(3 * 1024**3)"

    with pytest.raises(ProviderUnavailable, match="MemoryError"):
        await Scene(config, code, max_memory_gib=1.0).run()


async def test_a_training_that_takes_too_long_is_ended(config: Config, tmp_path: Path) -> None:
    scene = Scene(config, "import time; time.sleep(600)", max_minutes=1)
    readings = iter([0.0, 30.0, 61.0])
    scene.clock.monotonic = lambda: next(readings)  # type: ignore[method-assign]

    with pytest.raises(ProviderUnavailable, match=r"longer than forecasts.retraining.max_minutes"):
        await scene.run()


async def test_a_daemon_that_stops_does_not_wait_for_a_training(config: Config) -> None:
    scene = Scene(config, "import time; time.sleep(600)")
    scene.is_stopping = True

    with pytest.raises(RunSkipped, match="told to stop"):
        await scene.run()


async def test_no_training_holds_up_the_day_that_follows(config: Config) -> None:
    scene = Scene(config, "import time; time.sleep(600)", max_minutes=2_880)
    opens = DUE.latest + dt.timedelta(hours=4)
    scene.now = opens - dt.timedelta(minutes=config.schedule.premarket_minutes_before_open)

    with pytest.raises(RunSkipped, match="the pre-market run of the next session is due"):
        await scene.run()


def fill(config: Config) -> Path:
    directory = Path(config.state.directory)
    asked = Provenance(
        source="alpaca", adjustment="split", fetched_at=CLOSE, asked_from=dt.date(2018, 1, 1)
    )
    for symbol in SYMBOLS:
        bars = made_up_bars(Symbol(symbol), 1000, last=SESSION.date)
        BarStore(directory / "bars").write(Symbol(symbol), bars, asked)
    return directory / "models"


@pytest.mark.slow
async def test_a_candidate_is_trained_measured_and_kept_beside_the_model_in_use(
    config: Config,
) -> None:
    root = fill(config)
    store = ModelStore((root, SHIPPED))

    reason = await Scene(config, max_minutes=5.0).run()

    assert reason.startswith(("lstm/2 does not replace lstm/1: ", "lstm/2 is in use"))
    card = store.card("lstm", "2")
    assert card.symbols == SYMBOLS
    assert card.data_cutoff == SESSION.date
    assert store.versions("lstm") == ("1", "2")


@pytest.mark.slow
async def test_without_bars_the_run_fails_with_the_next_step(config: Config) -> None:
    with pytest.raises(ProviderUnavailable, match="run `openbell fetch --from"):
        await Scene(config).run()
