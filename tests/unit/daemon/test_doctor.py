"""The doctor names every problem with its fix, changes nothing, and ends as the contract says."""

import contextlib
import dataclasses
import datetime as dt
import json
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.config import ClockConfig, Config, ForecastsConfig, StateConfig, Universe, load
from daemon.doctor import remote
from daemon.doctor.finding import Finding, Status, exit_code, failed, ok, refused, warning
from daemon.doctor.local import LEAST_FREE_BYTES, local_findings
from daemon.doctor.remote import remote_findings
from daemon.session.market_check import differing_dates
from domain.clock import SystemClock
from domain.errors import StateError
from domain.trading_state import TradingState
from forecasts.model_store import ModelStore
from marketdata.session_calendar import NyseCalendar
from state.inspection import inspect
from state.latch import Latch
from state.latch_record import KillAction
from state.pause import Pause
from state.risk_state import RiskState
from state.store import Store
from tests.support.fake_broker import FakeBroker
from tests.support.running import REPOSITORY
from tests.support.scripted_server import ScriptedServer, answer
from tests.unit.daemon.test_command_line import openbell


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        universe=Universe(symbols=("AAPL", "MSFT")),
        state=StateConfig(directory=str(tmp_path / "var")),
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state directory with a database of a few events."""
    store = Store.open(tmp_path / "var", clock=SystemClock())
    store.bind_account("PA3TEST00001")
    store.close()
    return tmp_path / "var"


def found(config: Config, name: str) -> Finding:
    return next(finding for finding in local_findings(config, None) if finding.name == name)


def test_a_fresh_machine_has_nothing_to_repair(config: Config, tmp_path: Path) -> None:
    clock = ClockConfig(kind="replay", start="2022-11-14T07:00:00-05:00")
    findings = list(local_findings(dataclasses.replace(config, clock=clock), None))

    assert {finding.status for finding in findings} == {Status.OK}
    assert not (tmp_path / "var").exists()


def test_the_database_is_checked_beside_a_running_writer_and_left_alone(
    config: Config, home: Path
) -> None:
    store = Store.open(home, clock=SystemClock())
    try:
        before = store.row("SELECT max(seq) FROM events")
        finding = found(config, "database")
        assert store.row("SELECT max(seq) FROM events") == before
    finally:
        store.close()

    assert finding.status is Status.OK
    assert "chain unbroken" in finding.text
    assert "PA3TEST00001" in finding.text


def test_e07_a_changed_event_is_found(config: Config, home: Path) -> None:
    with sqlite3.connect(home / "openbell.db") as database:
        database.execute("DROP TRIGGER IF EXISTS events_are_final")
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE events SET payload = replace(payload, '1', '2') WHERE seq = 1")

    finding = found(config, "database")

    assert finding.status is Status.FAILED
    assert finding.exit_code == 78
    assert "damaged" in finding.text
    assert "backup" in finding.fix


def test_e06_a_corrupt_file_is_found(config: Config, home: Path) -> None:
    path = home / "openbell.db"
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)

    finding = found(config, "database")

    assert finding.status is Status.FAILED
    assert finding.exit_code == 78


def test_e09_an_old_copy_put_back_is_found(config: Config, home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "openbell.db", tmp_path / "old.db")
    store = Store.open(home, clock=SystemClock())
    store.close()
    shutil.copy(tmp_path / "old.db", home / "openbell.db")

    assert "an old copy was put back" in found(config, "database").text


def test_e11_a_newer_schema_is_named(config: Config, home: Path) -> None:
    with sqlite3.connect(home / "openbell.db") as database:
        database.execute("INSERT INTO migrations VALUES (999, 'later', '2030-01-01')")

    finding = found(config, "database")

    assert finding.status is Status.FAILED
    assert "schema 999" in finding.text
    assert finding.fix == "install the newer one"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda home: (home / "openbell.db").unlink(), "openbell.db is missing although"),
        (lambda home: (home / "openbell.hwm").unlink(), "openbell.hwm is missing"),
        (lambda home: (home / "openbell.db").chmod(0o622), "may be written by others"),
        (lambda home: (home / "openbell.lock").chmod(0o666), "may be written by others"),
    ],
)
def test_what_a_start_refuses_about_its_files_is_not_called_sound(
    config: Config, home: Path, damage: Callable[[Path], object], told: str
) -> None:
    damage(home)

    finding = found(config, "database")

    assert (finding.status, finding.exit_code) == (Status.FAILED, 78)
    assert told in f"{finding.text}: {finding.fix}"
    with pytest.raises(StateError, match=re.escape(told)):
        Store.open(home, clock=SystemClock())


def test_no_database_is_no_fault(tmp_path: Path) -> None:
    assert inspect(tmp_path) is None


def test_e14_the_state_directory_must_be_ours_alone(config: Config, home: Path) -> None:
    for mode, status in ((0o777, Status.FAILED), (0o755, Status.WARNING), (0o700, Status.OK)):
        home.chmod(mode)
        finding = found(config, "state directory")
        assert finding.status is status, oct(mode)
        assert status is Status.OK or "chmod 700" in finding.fix


def test_e14_a_state_directory_reached_by_a_link_is_named(config: Config, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "elsewhere")

    finding = found(config, "state directory")

    assert (finding.status, finding.exit_code) == (Status.FAILED, 78)
    assert "symbolic link" in finding.text


def test_e01_scarce_disk_space_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=LEAST_FREE_BYTES - 1))

    finding = found(config, "disk")

    assert (finding.status, finding.exit_code) == (Status.FAILED, 1)
    assert finding.fix.startswith("free space")


def test_a_disk_on_which_no_backup_could_be_tested_is_named(
    config: Config, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    with (home / "openbell.db").open("r+b") as file:
        file.truncate(2_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_000_000_000))

    finding = found(config, "disk")

    assert finding.status is Status.WARNING
    assert "a tested backup of the database needs 6.0" in finding.text


def test_an_engaged_latch_names_the_way_back(config: Config, home: Path) -> None:
    latch = Latch(home)
    assert found(config, "latch").status is Status.OK

    latch.engage("because", SystemClock().now(), pending=KillAction.CANCEL)
    assert "run openbell kill until it is verified" in found(config, "latch").fix
    latch.complete(KillAction.CANCEL, SystemClock().now())
    assert "openbell resume" in found(config, "latch").fix
    latch.path.unlink()
    assert found(config, "latch").status is Status.WARNING


def test_what_a_kill_changed_at_the_broker_is_told(config: Config, home: Path) -> None:
    latch = Latch(home)
    latch.engage("because", SystemClock().now(), pending=KillAction.FLATTEN)
    assert "short sales" not in found(config, "latch").text

    latch.begin_closing(forbids_shorting=True)

    assert "short sales are forbidden at the broker" in found(config, "latch").text


@pytest.mark.parametrize(
    ("allow_short", "is_banned", "told"),
    [(True, True, [Status.WARNING]), (False, True, []), (True, False, [])],
)
async def test_short_sales_that_the_broker_forbids_are_told_to_who_would_make_them(
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    allow_short: bool,
    is_banned: bool,
    told: list[Status],
) -> None:
    broker = FakeBroker(SystemClock())
    broker.is_shorting_banned = is_banned

    @contextlib.asynccontextmanager
    async def connect(_: Config) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(broker=broker)

    monkeypatch.setattr(remote, "connect", connect)
    shorting = dataclasses.replace(
        config,
        broker=dataclasses.replace(config.broker, kind="alpaca"),
        risk=dataclasses.replace(config.risk, allow_short=allow_short),
    )

    findings = [finding async for finding in remote_findings(shorting, SystemClock())]

    assert [one.status for one in findings if one.name == "short sales"] == told


def test_a_pause_is_told(config: Config, home: Path) -> None:
    Pause(home).set("lunch")

    assert found(config, "latch").fix == "openbell unpause"


def test_an_armed_latch_does_not_say_that_orders_may_leave_while_something_else_holds_them(
    config: Config, home: Path
) -> None:
    with contextlib.closing(Store.open(home, clock=SystemClock())) as store:
        assert found(config, "latch").text == "armed: orders may leave"

        RiskState(store).set_trading_state(TradingState.REDUCING, "daily loss of 1.62 %")
        told = found(config, "latch")

    assert (told.status, told.text) == (
        Status.WARNING,
        "armed, but trading is REDUCING: daily loss of 1.62 %",
    )


def test_h10_a_damaged_model_file_is_named(config: Config, home: Path) -> None:
    shutil.copytree(
        Path(__file__).parents[3] / "forecasts" / "registry" / "lstm", home / "models" / "lstm"
    )
    model = next((home / "models" / "lstm").glob("*/model.onnx"))
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"x")

    finding = found(config, "models")

    assert (finding.status, finding.exit_code) == (Status.FAILED, 78)
    assert "does not match its card" in finding.text


def test_a_horizon_beyond_the_model_is_named(config: Config) -> None:
    long = dataclasses.replace(config, forecasts=ForecastsConfig(horizon=60))

    assert "lower it" in found(long, "models").fix


@pytest.mark.parametrize(
    ("provider", "has_torch", "status", "words"),
    [
        ("sample", True, Status.OK, "on the recorded prices"),
        ("sample", False, Status.WARNING, "torch is not installed"),
        ("yahoo", True, Status.WARNING, "no bars of AAPL, MSFT are stored"),
        ("csv", True, Status.WARNING, "no bars of AAPL, MSFT are stored"),
    ],
)
def test_what_the_weekly_training_lacks_is_named(
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    has_torch: bool,
    status: Status,
    words: str,
) -> None:
    retraining = dataclasses.replace(config.forecasts.retraining, enabled=True)
    config = dataclasses.replace(
        config,
        marketdata=dataclasses.replace(config.marketdata, provider=provider),
        forecasts=dataclasses.replace(config.forecasts, retraining=retraining),
    )
    if not has_torch:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    finding = found(config, "training")

    assert finding.status is status
    assert words in finding.text


def test_a_symbol_that_is_not_recorded_is_named(config: Config) -> None:
    other = dataclasses.replace(config, universe=Universe(symbols=("AAPL", "ZZZZ")))

    assert "ZZZZ" in found(other, "recorded data").text


def test_f05_a_half_day_that_the_broker_does_not_know_is_a_difference() -> None:
    ours = NyseCalendar().sessions(dt.date(2022, 11, 21), dt.date(2022, 11, 30))
    theirs = [
        dataclasses.replace(session, close=session.close + dt.timedelta(hours=3))
        if session.is_half_day
        else session
        for session in ours
    ]

    assert differing_dates(ours, ours) == []
    assert differing_dates(ours, theirs) == [dt.date(2022, 11, 25)]
    assert differing_dates(ours, ours[1:]) == [dt.date(2022, 11, 21)]


async def test_an_optional_service_that_is_away_is_a_warning(config: Config) -> None:
    service = dataclasses.replace(config.forecasts.remote, url="http://127.0.0.1:9")
    away = dataclasses.replace(
        config, forecasts=dataclasses.replace(config.forecasts, remote=service)
    )

    findings = [finding async for finding in remote_findings(away, SystemClock())]

    (forecasts,) = [finding for finding in findings if finding.name == "forecasts"]
    assert forecasts.status is Status.WARNING
    assert "no answer (connect)" in forecasts.text
    assert "serve-models" in forecasts.fix


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({"parameters": {"model_hash": ModelStore().card("lstm").sha256}}, Status.OK),
        ({"parameters": {"model_hash": "0" * 64}}, Status.WARNING),
        # Other servers do not tell.
        ({"name": "lstm"}, Status.OK),
    ],
)
async def test_a_forecast_server_with_another_version_is_a_warning(
    config: Config, metadata: dict[str, object], status: Status
) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2/models/lstm/ready", answer(200, {"ready": True}))
        server.on("GET", "/v2/models/lstm", answer(200, metadata))
        service = dataclasses.replace(config.forecasts.remote, url=server.url, model="lstm")
        forecasts = dataclasses.replace(config.forecasts, remote=service)
        there = dataclasses.replace(config, forecasts=forecasts)

        findings = [finding async for finding in remote_findings(there, SystemClock())]

    (finding,) = [one for one in findings if one.name == "forecasts"]
    assert finding.status is status
    assert ("has not lstm/1 of this machine" in finding.text) is (status is Status.WARNING)


async def test_the_data_feed_is_asked_with_the_keys_that_the_daemon_reads_it_with(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "PKMINE")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "mine")
    async with ScriptedServer() as server:
        server.on("GET", "/v2/stocks/bars/latest", answer(200, {"bars": {}}))
        alpaca = dataclasses.replace(config.marketdata.alpaca, data_url=server.url)
        market = dataclasses.replace(config.marketdata, provider="alpaca", alpaca=alpaca)
        beside = dataclasses.replace(config, marketdata=market)

        findings = [finding async for finding in remote_findings(beside, SystemClock())]

        assert [one.status for one in findings if one.name == "data feed"] == [Status.OK]
        assert server.seen[-1].headers["apca-api-key-id"] == "PKMINE"


def test_the_worst_failure_decides_the_exit_status() -> None:
    fine, odd = ok("a", "fine"), warning("b", "odd", fix="do")
    plain = failed("c", "bad", fix="do")
    away = failed("d", "away", fix="wait", exit_code=75)
    wrong = refused("e", "key: change it")

    assert exit_code([fine, odd]) == 0
    assert exit_code([fine, plain]) == 1
    assert exit_code([plain, away]) == 75
    assert exit_code([plain, wrong, away]) == 78
    assert (wrong.text, wrong.fix) == ("key", "change it")


def write_config(directory: Path, text: str = "") -> None:
    (directory / "config.toml").write_text(f'[universe]\nsymbols = ["AAPL"]\n{text}')


def test_the_command_prints_one_line_a_check_and_json(tmp_path: Path) -> None:
    write_config(tmp_path, '[clock]\nkind = "replay"\nstart = "2022-11-14T07:00:00-05:00"\n')

    plain = openbell("doctor", cwd=tmp_path)
    document = json.loads(openbell("doctor", "--json", cwd=tmp_path).stdout)

    assert plain.returncode == 0, plain.stdout + plain.stderr
    assert document["ok"] is True
    assert len(plain.stdout.splitlines()) == len(document["checks"]) + 1
    assert {"config", "database", "broker", "models"} <= {c["name"] for c in document["checks"]}
    assert set(document["checks"][0]) == {"name", "status", "text", "fix"}


def test_a_wrong_key_in_the_configuration_ends_78_and_names_the_nearest(tmp_path: Path) -> None:
    write_config(tmp_path, "[risk]\nmax_drawdwon_pct = 5\n")

    done = openbell("doctor", cwd=tmp_path)

    assert done.returncode == 78
    assert "did you mean `max_drawdown_pct`?" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        (
            "mqtt.command_public_keys",
            {"MQTT__ENABLED": "true", "MQTT__COMMAND_PUBLIC_KEYS": '["a"]'},
        ),
        ("alerts.urls: target 1", {"ALERTS__URLS": '["nonsense://x"]'}),
        ("broker.embedded.faults: fault 'what'", {"BROKER__EMBEDDED__FAULTS": '["what"]'}),
        ("clock.start", {"CLOCK__START": "yesterday"}),
        ("clock.start", {"CLOCK__START": "2030-01-02T07:00:00-05:00"}),
        ("clock.kind", {"CLOCK__KIND": "system"}),
        ("news.rss_urls", {"NEWS__PROVIDER": "rss", "NEWS__RSS_URLS": '["nope"]'}),
    ],
)
# Apprise tries a module of the standard library that is going away, and does without it.
@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
def test_what_refuses_a_start_is_not_called_ok(
    tmp_path: Path, name: str, environ: dict[str, str]
) -> None:
    state = {"OPENBELL__STATE__DIRECTORY": str(tmp_path / "var")}
    config = load(
        REPOSITORY / "config.toml",
        {**state, **{f"OPENBELL__{key}": value for key, value in environ.items()}},
    )

    told = [one for one in local_findings(config, None) if one.status is Status.FAILED]

    assert [one.exit_code for one in told] == [78]
    assert name in f"{told[0].text}: {told[0].fix}"


def test_a_broker_that_is_away_ends_75_and_a_missing_key_78(tmp_path: Path) -> None:
    write_config(
        tmp_path,
        '[broker]\nkind = "alpaca"\n[broker.alpaca]\ntrading_url = "http://127.0.0.1:9"\n'
        "connect_timeout_seconds = 0.2\ntotal_timeout_seconds = 0.4\n",
    )
    keys = {"APCA_API_KEY_ID": "PKX", "APCA_API_SECRET_KEY": "S"}

    assert openbell("doctor", cwd=tmp_path).returncode == 78
    away = openbell("doctor", cwd=tmp_path, **keys)

    assert away.returncode == 75, away.stdout
    assert "trading_url = http://127.0.0.1:9" in away.stdout


def test_who_tells_earnings_dates_is_checked_as_far_as_this_machine_knows(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALPHAVANTAGE_API_KEY", raising=False)
    events = tmp_path / "events.csv"
    events.write_text("symbol,date,kind\nAAPL,2022-10-27,earnings\n", encoding="utf-8")

    def earnings(**changes: str) -> Finding:
        fed = dataclasses.replace(config.marketdata, **changes)  # type: ignore[arg-type]
        return found(dataclasses.replace(config, marketdata=fed), "earnings")

    assert earnings(events_file=str(events)).status is Status.OK
    refused = earnings(earnings="alphavantage")
    assert (refused.status, refused.exit_code) == (Status.FAILED, 78)
    assert "ALPHAVANTAGE_API_KEY" in refused.text
    events.write_text("symbol,date,kind\nAAPL,soon,earnings\n", encoding="utf-8")
    assert "line 2" in earnings(events_file=str(events)).text


def test_bars_of_ones_own_that_are_too_few_to_decide_anything_are_named(
    tmp_path: Path, config: Config
) -> None:
    own = dataclasses.replace(config.marketdata.csv, directory=str(tmp_path / "bars"))
    fed = dataclasses.replace(config.marketdata, provider="csv", csv=own)
    config = dataclasses.replace(config, marketdata=fed)

    missing = found(config, "bars")
    (tmp_path / "bars").mkdir()
    empty = found(config, "bars")
    for name in config.universe.symbols:
        (tmp_path / "bars" / f"{name}.csv").write_text(
            "date,close\n2022-11-10,146.87\n2022-11-11,149.7\n", encoding="utf-8"
        )
    full = found(config, "bars")
    fewer = dataclasses.replace(config, marketdata=dataclasses.replace(fed, min_symbols_pct=50))
    (tmp_path / "bars" / "MSFT.csv").unlink()

    assert (missing.status, missing.exit_code) == (Status.FAILED, 1)
    assert "marketdata.csv.directory" in missing.text
    assert (empty.status, empty.fix.split(",")[0]) == (Status.FAILED, "put AAPL.csv there")
    assert full.status is Status.OK
    assert full.text.endswith("ours up to 2022-11-11")
    assert found(fewer, "bars").status is Status.WARNING
    assert "MSFT has none" in found(config, "bars").text


def test_a_finbert_that_is_another_one_is_named(tmp_path: Path, config: Config) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08 another")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    own = dataclasses.replace(config.sentiment.finbert, model=str(tmp_path / "model.onnx"))
    sentiment = dataclasses.replace(config.sentiment, finbert=own)

    told = found(dataclasses.replace(config, sentiment=sentiment), "finbert")

    assert (told.status, told.exit_code) == (Status.FAILED, 78)
    assert "sentiment.finbert.sha256" in told.text
