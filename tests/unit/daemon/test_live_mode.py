"""Real money needs three confirmations and one account; every other combination is refused."""

import dataclasses
import errno
import itertools
import json
import os
from pathlib import Path

import pytest

import daemon.connection
from daemon.books import open_books
from daemon.config import (
    AlpacaBrokerConfig,
    BrokerConfig,
    ClockConfig,
    Config,
    StateConfig,
    Universe,
)
from daemon.config_loader import build, with_environment
from daemon.connection import Connection, connect
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, FINNHUB_KEY, Credentials
from daemon.live_mode import arm, check_account, check_configuration, read_arming
from domain.clock import SystemClock
from domain.errors import BadArgument, ConfigError, StateError
from state.store import Store
from tests.unit.daemon.test_command_line import openbell

LIVE = "903218765"
OTHER = "903218766"
PAPER = "PA3ALPACA001"
DROPPED_IN = {"OPENBELL_LIVE": "1"}

LIVE_URLS = ("https://api.alpaca.markets", "wss://api.alpaca.markets/stream")
PAPER_URLS = ("https://paper-api.alpaca.markets", "wss://paper-api.alpaca.markets/stream")
LOOPBACK_URLS = ("http://127.0.0.1:8420", "ws://127.0.0.1:8420/stream")
ODD_URLS = {
    "plain text": ("http://api.alpaca.markets", "wss://api.alpaca.markets/stream"),
    "a suffix": ("https://api.alpaca.markets.example.com", LIVE_URLS[1]),
    "a user part": ("https://api.alpaca.markets@example.com", LIVE_URLS[1]),
    "the stream elsewhere": (LIVE_URLS[0], "wss://example.com/stream"),
    "the stream on paper": (LIVE_URLS[0], PAPER_URLS[1]),
    "another port": ("https://api.alpaca.markets:8443", LIVE_URLS[1]),
    "no host": ("https://", LIVE_URLS[1]),
    "no url": ("api.alpaca.markets", LIVE_URLS[1]),
    "a bad port": ("https://api.alpaca.markets:x", LIVE_URLS[1]),
    # As Alpaca's own page shows it: every request went to /v2/v2, and nothing was there.
    "the page's path": ("https://api.alpaca.markets/v2", LIVE_URLS[1]),
    "a query": (LIVE_URLS[0], "wss://api.alpaca.markets/stream?x=1"),
    "paper with a path": ("https://paper-api.alpaca.markets/v2", PAPER_URLS[1]),
}
ADDRESSES = {"live": LIVE_URLS, "paper": PAPER_URLS, "loopback": LOOPBACK_URLS, **ODD_URLS}
ARMINGS = ("none", "right", "other", "readable by all", "a link", "damaged")


def config_of(directory: Path, *, mode: str = "live", urls: tuple[str, str] = LIVE_URLS) -> Config:
    return Config(
        universe=Universe(symbols=("AAPL",)),
        mode=mode,
        broker=BrokerConfig(
            kind="alpaca",
            alpaca=AlpacaBrokerConfig(trading_url=urls[0], trade_stream_url=urls[1]),
        ),
        state=StateConfig(directory=str(directory)),
    )


def armed(directory: Path, how: str) -> Path:
    home = directory / how.replace(" ", "-")
    config = config_of(home)
    if how == "none":
        return home
    number = OTHER if how == "other" else LIVE
    path = arm(config, account=number, confirm=number, clock=SystemClock())
    if how == "readable by all":
        path.chmod(0o644)
    if how == "a link":
        path.rename(home / "elsewhere")
        path.symlink_to(home / "elsewhere")
    if how == "damaged":
        path.write_text('{"account": 5}')
    return home


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    return {how: armed(tmp_path, how) for how in ARMINGS}


def is_passed(config: Config, number: str, environ: dict[str, str]) -> bool:
    try:
        check_account(config, number, environ)
    except ConfigError:
        return False
    return True


def test_n04_n05_of_all_combinations_only_the_fully_confirmed_one_may_trade_live(
    homes: dict[str, Path],
) -> None:
    environments: list[dict[str, str]] = [{}, DROPPED_IN, {"OPENBELL_LIVE": "true"}]
    may_trade_live: list[tuple[str, str, str | None, str]] = []
    may_trade_paper: list[tuple[str, str, str | None, str]] = []
    for mode, (address, urls), arming, environ, number in itertools.product(
        ("live", "paper"), ADDRESSES.items(), ARMINGS, environments, (LIVE, OTHER, PAPER)
    ):
        config = config_of(homes[arming], mode=mode, urls=urls)
        if is_passed(config, number, environ):
            found = (address, arming, environ.get("OPENBELL_LIVE"), number)
            (may_trade_live if mode == "live" else may_trade_paper).append(found)

    assert may_trade_live == [("live", "right", "1", LIVE), ("live", "other", "1", OTHER)]
    assert {address for address, *_ in may_trade_paper} == {"paper", "loopback"}
    # A live account behind the paper host can only be a mix-up.
    assert {number for address, *_, number in may_trade_paper if address == "paper"} == {PAPER}


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("MARKETDATA__ALPACA__DATA_URL", "https://data.alpaca.markets.evil.example"),
        ("MARKETDATA__ALPACA__DATA_URL", "http://127.0.0.1:8900"),
        ("MARKETDATA__ALPACA__DATA_STREAM_URL", "wss://evilalpaca.markets/v2/iex"),
        ("NEWS__STREAM_URL", "wss://news.example/v1beta1/news"),
    ],
)
def test_n05_the_keys_of_a_live_account_go_to_hosts_of_the_broker_only(
    homes: dict[str, Path], name: str, url: str
) -> None:
    live = config_of(homes["right"])
    table = {
        "mode": "live",
        "universe": {"symbols": ["AAPL"]},
        "broker": {
            "kind": "alpaca",
            "alpaca": dict(zip(("trading_url", "trade_stream_url"), LIVE_URLS, strict=True)),
        },
        "state": {"directory": live.state.directory},
    }
    elsewhere = build(Config, with_environment(table, {f"OPENBELL__{name}": url}))
    key = name.lower().replace("__", ".")

    check_configuration(live, DROPPED_IN)
    with pytest.raises(ConfigError, match=f"{key} = .* hosts of alpaca.markets only"):
        check_configuration(elsewhere, DROPPED_IN)


def test_a_replayed_clock_trades_with_a_broker_on_loopback_only(tmp_path: Path) -> None:
    def replayed(urls: tuple[str, str]) -> Config:
        return dataclasses.replace(
            config_of(tmp_path, mode="paper", urls=urls), clock=ClockConfig(kind="replay")
        )

    with pytest.raises(ConfigError, match=r'clock\.kind = "replay": only a broker on loopback'):
        check_configuration(replayed(PAPER_URLS), {})
    check_configuration(replayed(LOOPBACK_URLS), {})


async def test_n05_no_request_leaves_for_a_host_that_does_not_fit_the_mode(
    homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[tuple[str, str]] = []

    class Nobody:
        async def aclose(self) -> None:
            pass

    def no_adapters(config: Config, urls: AlpacaBrokerConfig, *_: object, **__: object) -> object:
        reached.append((config.mode, urls.trading_url))
        return Nobody(), None

    monkeypatch.setattr(daemon.connection, "_adapters", no_adapters)
    monkeypatch.setenv("OPENBELL_LIVE", "1")
    for mode, urls, arming in itertools.product(("live", "paper"), ADDRESSES.values(), ARMINGS):
        config = config_of(homes[arming], mode=mode, urls=urls)
        try:
            async with connect(config):
                pass
        except ConfigError:
            continue

    assert set(reached) == {
        ("live", LIVE_URLS[0]),
        ("paper", PAPER_URLS[0]),
        ("paper", LOOPBACK_URLS[0]),
    }


async def test_n05_an_account_that_is_not_the_armed_one_is_refused_before_anything_is_written(
    homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBELL_LIVE", "1")
    home = homes["right"]

    class OnlyTheAccount:
        """Any other request would be an AttributeError."""

        async def account(self) -> object:
            return type("Account", (), {"account_number": OTHER})()

    clock = SystemClock()
    connection = Connection(
        broker=OnlyTheAccount(),  # type: ignore[arg-type]
        stream=None,  # type: ignore[arg-type]
        clock=clock,
        time_scale=1.0,
    )
    store = Store.open(home, clock=clock)
    try:
        with pytest.raises(ConfigError, match=f"armed for account {LIVE}.*reports {OTHER}"):
            await open_books(config_of(home), connection, store)
        assert store.account() is None
    finally:
        store.close()


@pytest.mark.parametrize(
    ("environ", "arming", "urls", "part"),
    [
        ({}, "right", LIVE_URLS, "OPENBELL_LIVE=1 is not set"),
        (DROPPED_IN, "none", LIVE_URLS, "LIVE is missing"),
        (DROPPED_IN, "readable by all", LIVE_URLS, "others may read"),
        (DROPPED_IN, "a link", LIVE_URLS, "cannot be read"),
        (DROPPED_IN, "damaged", LIVE_URLS, "is damaged"),
        (DROPPED_IN, "right", PAPER_URLS, "needs https://api.alpaca.markets"),
    ],
)
def test_each_missing_confirmation_names_its_next_step(
    homes: dict[str, Path],
    environ: dict[str, str],
    arming: str,
    urls: tuple[str, str],
    part: str,
) -> None:
    with pytest.raises(ConfigError, match=part):
        check_configuration(config_of(homes[arming], urls=urls), environ)


def test_the_arming_file_is_private_and_says_what_was_typed(tmp_path: Path) -> None:
    config = config_of(tmp_path / "var")

    path = arm(config, account=LIVE, confirm=LIVE, clock=SystemClock())

    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["account"] == LIVE
    assert read_arming(config).account == LIVE
    assert [entry.name for entry in path.parent.iterdir()] == ["LIVE"]


@pytest.mark.parametrize(
    ("account", "confirm", "part"),
    [
        (LIVE, OTHER, "type it twice"),
        (PAPER, PAPER, "paper account"),
        ("12", "12", "no account number"),
        ("../../etc", "../../etc", "no account number"),
    ],
)
def test_arming_refuses_what_cannot_be_meant(
    tmp_path: Path, account: str, confirm: str, part: str
) -> None:
    with pytest.raises(BadArgument, match=part):
        arm(config_of(tmp_path / "var"), account=account, confirm=confirm, clock=SystemClock())
    assert not (tmp_path / "var" / "LIVE").exists()


def test_arming_refuses_a_state_directory_that_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var").chmod(0o777)

    with pytest.raises(StateError, match="written by others"):
        arm(config_of(tmp_path / "var"), account=LIVE, confirm=LIVE, clock=SystemClock())


def test_the_embedded_broker_needs_no_confirmation(tmp_path: Path) -> None:
    config = dataclasses.replace(
        config_of(tmp_path, mode="paper"), broker=BrokerConfig(kind="embedded")
    )

    check_account(config, "whatever", {})


# Secrets: where they may lie.


def credentials(directory: Path, mode: str, **environ: str) -> Credentials:
    return Credentials(
        mode=mode,
        is_embedded=False,
        environ={"CREDENTIALS_DIRECTORY": str(directory), **environ},
    )


def test_n06_live_mode_refuses_a_secret_from_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="live mode takes it from"):
        credentials(tmp_path, "live", APCA_API_KEY_ID="AKSECRET").require(BROKER_KEY_ID)
    found = credentials(tmp_path, "paper", APCA_API_KEY_ID="PKSECRET").require(BROKER_KEY_ID)
    assert found.reveal() == "PKSECRET"


def test_n06_live_mode_reads_a_secret_from_the_credentials_directory_only(tmp_path: Path) -> None:
    (tmp_path / BROKER_KEY_ID).write_text("AKFILE\n")
    (tmp_path / BROKER_KEY_ID).chmod(0o400)

    found = credentials(tmp_path, "live", APCA_API_KEY_ID="AKENV").require(BROKER_KEY_ID)

    assert found.reveal() == "AKFILE"
    assert credentials(tmp_path, "live").place(BROKER_KEY_ID) == str(tmp_path)
    assert credentials(tmp_path, "paper").place("APCA_API_SECRET_KEY") == "the environment"
    with pytest.raises(ConfigError, match="is missing; put it into"):
        credentials(tmp_path, "live").require("APCA_API_SECRET_KEY")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o602, 0o601, 0o610])
def test_n06_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / BROKER_KEY_ID
    path.write_text("AKFILE")
    path.chmod(mode)

    with pytest.raises(ConfigError, match="others may read it"):
        credentials(tmp_path, "live").require(BROKER_KEY_ID)


def test_n06_a_secret_reached_by_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("AKFILE")
    (tmp_path / "elsewhere").chmod(0o400)
    (tmp_path / BROKER_KEY_ID).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="put the file itself there"):
        credentials(tmp_path, "live").require(BROKER_KEY_ID)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_n06_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / BROKER_KEY_ID
    path.write_text("AKFILE")
    path.chmod(0o400)
    os.chown(path, 12345, 12345)

    with pytest.raises(ConfigError, match="belongs to another user"):
        credentials(tmp_path, "live").require(BROKER_KEY_ID)


def test_n06_a_folder_of_keys_that_may_not_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root's, mode 700: the service is handed its keys all the same, a kill by hand is not.
    def refuse(self: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refuse)

    with pytest.raises(ConfigError, match=r"cannot be looked into \(Permission denied\); give"):
        credentials(tmp_path, "live").require(BROKER_KEY_ID)
    assert credentials(tmp_path, "live").readable() == ()


def test_n06_a_secret_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / BROKER_KEY_ID).write_bytes(b"caf\xe9")
    (tmp_path / BROKER_KEY_ID).chmod(0o400)

    with pytest.raises(ConfigError, match="APCA_API_KEY_ID: is no text"):
        credentials(tmp_path, "live").require(BROKER_KEY_ID)


@pytest.mark.parametrize(("content", "mode"), [(b"token", 0o644), (b"caf\xe9", 0o600)])
def test_a_kill_is_not_stopped_by_the_key_of_a_service_that_it_does_not_ask(
    tmp_path: Path, content: bytes, mode: int
) -> None:
    for name in (BROKER_KEY_ID, BROKER_SECRET_KEY, FINNHUB_KEY):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode if name == FINNHUB_KEY else 0o600)
    (tmp_path / BROKER_KEY_ID).write_text("AKFILE")
    (tmp_path / BROKER_SECRET_KEY).write_text("SECRET")
    found = credentials(tmp_path, "live", OPENBELL_HTTP_TOKEN="exported for curl")

    with pytest.raises(ConfigError):
        found.known()
    assert found.readable() == ("AKFILE", "SECRET")


# The command line.


def write_config(home: Path, mode: str) -> None:
    (home / "config.toml").write_text(
        f'mode = "{mode}"\n[universe]\nsymbols = ["AAPL"]\n'
        '[broker]\nkind = "alpaca"\n[broker.alpaca]\n'
        f'trading_url = "{LIVE_URLS[0]}"\ntrade_stream_url = "{LIVE_URLS[1]}"\n'
    )


@pytest.mark.parametrize("command", [["run"], ["reconcile"]])
def test_n04_an_unconfirmed_live_mode_refuses_to_start(tmp_path: Path, command: list[str]) -> None:
    write_config(tmp_path, "live")

    done = openbell(*command, cwd=tmp_path)

    assert done.returncode == 78
    assert "OPENBELL_LIVE=1 is not set" in done.stderr
    assert not (tmp_path / "var").exists()


def test_n04_arm_live_is_typed_twice_and_only_in_live_mode(tmp_path: Path) -> None:
    write_config(tmp_path, "live")
    numbers = ["--account", LIVE, "--confirm", LIVE]

    assert openbell("arm-live", *numbers[:3], OTHER, cwd=tmp_path).returncode == 64
    done = openbell("arm-live", *numbers, "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"account": LIVE, "file": "var/LIVE"}
    write_config(tmp_path, "paper")
    assert openbell("arm-live", *numbers, cwd=tmp_path).returncode == 78
