"""The configuration refuses whatever it does not understand, and says what to do."""

import dataclasses
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Config, load
from domain.errors import ConfigError

REPOSITORY = Path(__file__).parents[3]
MQTT = "[mqtt]\nenabled = true\n"
MINIMAL = '[universe]\nsymbols = ["AAPL"]\n'


def loaded(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environ)
    return str(caught.value)


def test_the_file_in_the_repository_is_the_embedded_default() -> None:
    config = load(REPOSITORY / "config.toml", {})

    assert config.mode == "paper"
    assert config.broker.kind == "embedded"
    assert config.clock.kind == "replay"
    assert config.risk.kelly_fraction == 0.25
    assert len(config.universe.symbols) == 25


def keys_of(cls: type, where: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(section := hints[field.name]):
            yield from keys_of(typing.cast(type, section), f"{where}{field.name}.")
        else:
            yield f"{where}{field.name}"


def keys_in(table: dict[str, Any], where: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from keys_in(value, f"{where}{key}.")
        else:
            yield f"{where}{key}"


def test_every_key_is_shown_to_who_reads_the_file_in_the_repository_or_the_page_on_risk() -> None:
    shown = set(keys_in(tomllib.loads((REPOSITORY / "config.toml").read_text())))
    on_risk = (REPOSITORY / "docs" / "risk.md").read_text()

    hidden = {key for key in keys_of(Config) if key not in shown and key != "strategies"}

    assert {key for key in hidden if not key.startswith("risk.")} == set()
    assert {key for key in hidden if f"| `{key.removeprefix('risk.')}` |" not in on_risk} == set()


def test_n02_a_misspelt_key_names_the_nearest_one(tmp_path: Path) -> None:
    said = refusal(tmp_path, MINIMAL + "[risk]\nmax_drawdwon_pct = 5\n")

    assert said == "risk.max_drawdwon_pct: unknown key; did you mean `max_drawdown_pct`?"


def test_n02_a_misspelt_section_names_the_nearest_one(tmp_path: Path) -> None:
    assert "did you mean `schedule`?" in refusal(tmp_path, MINIMAL + "[shedule]\n")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("[http]\nport = 99999", "http.port = 99999: out of range, allowed is from 1 to 65535"),
        ('[http]\nport = "8787"', "http.port = '8787': must be a whole number"),
        ("[http]\nenabled = 1", "http.enabled = 1: must be true or false"),
        ("[clock]\nspeed = nan", "clock.speed = nan: out of range"),
        ('[broker]\nkind = "etrade"', "must be one of 'embedded', 'alpaca'"),
        ('[http]\nhost = "0.0.0.0"', "http.host = '0.0.0.0': must be one of"),
        ("[risk]\nkelly_fraction = 25", "risk.kelly_fraction"),
        ('[risk]\nmax_drawdown_pct = "5"', "risk.max_drawdown_pct = '5': must be a number"),
        ('[alerts]\nurls = "tgram://x"', 'alerts.urls: must be a list such as ["'),
        (f'{MQTT}topic_prefix = "home/#"', "mqtt.topic_prefix = 'home/#': must be a topic such"),
        (f'{MQTT}topic_prefix = "+"', "mqtt.topic_prefix = '+'"),
        (f'{MQTT}topic_prefix = "/"', "mqtt.topic_prefix = '/'"),
        (f'{MQTT}host = ""', "mqtt.host = '': must name a host"),
        (
            "[risk]\nmax_drawdown_pct = nan",
            "max_drawdown_pct = NaN: out of range, allowed is from 0",
        ),
        (
            "[risk]\nkelly_fraction = nan",
            "kelly_fraction = nan: out of range, allowed is from 0.01",
        ),
        ("[state]\ndirectory = 7", "state.directory = 7: must be a text"),
        ("risk = 3", "risk: must be a section"),
        (
            '[broker.alpaca]\ntrading_url = "http://127.0.0.1:99999"',
            "broker.alpaca.trading_url = 'http://127.0.0.1:99999': must be an address such as",
        ),
        ('[broker.alpaca]\ntrade_stream_url = "https://a.b"', "such as wss://HOST[:PORT] or ws://"),
        ('[broker.alpaca]\ntrading_url = ""', "broker.alpaca.trading_url = ''"),
        ('[forecasts.remote]\nurl = "http://gpu:port"', "forecasts.remote.url = 'http://gpu:port'"),
        ('[forecasts.remote]\nurl = "gpu:8500"', "forecasts.remote.url = 'gpu:8500'"),
        ('[forecasts.remote]\nurl = "http://10.0.0.256"', "forecasts.remote.url = 'http://10.0.0"),
        ('[forecasts.remote]\nurl = "http://[::1"', "forecasts.remote.url = 'http://[::1'"),
        ('[sentiment.cloudflare]\nurl = "https:// x"', "sentiment.cloudflare.url = 'https:// x'"),
        (
            '[marketdata.alpaca]\ndata_url = "http://data.alpaca.markets"',
            "'http://data.alpaca.markets': your keys travel there, so it must begin with https://",
        ),
        ('[marketdata.alpaca]\ndata_stream_url = "ws://stream.data.a.m"', "begin with wss://"),
        ('[news]\nstream_url = "ws://stream.data.a.m"', "begin with wss://"),
        ('[sentiment.cloudflare]\nurl = "http://127.0.0.1.a.b"', "begin with https://"),
        ('[alerts]\nheartbeat_url = "hc.io/x"', "alerts.heartbeat_url: must be an address"),
        (
            '[forecasts.remote]\nurl = "https://me:made-up@gpu.example"',
            "forecasts.remote.url: must be an address without user and password",
        ),
        ('[alerts]\nurls = "discord://made-up"', "alerts.urls: must be a list"),
    ],
)
def test_n01_n12_wrong_values_name_key_value_and_what_is_allowed(
    tmp_path: Path, line: str, part: str
) -> None:
    text = f"{line}\n{MINIMAL}" if line.startswith("risk =") else f"{MINIMAL}{line}\n"

    assert part in refusal(tmp_path, text)
    assert "made-up" not in refusal(tmp_path, text)


@pytest.mark.parametrize("line", ['host = ""', 'topic_prefix = "home/#"', 'topic_prefix = ""'])
def test_what_mqtt_could_not_use_matters_only_where_it_is_on(tmp_path: Path, line: str) -> None:
    assert not loaded(tmp_path, f"{MINIMAL}[mqtt]\n{line}\n").mqtt.enabled


@pytest.mark.parametrize(
    ("symbols", "part"),
    [
        ('["AAPL", "AAPL"]', "listed twice"),
        ('["not a symbol"]', "is not a US equity symbol"),
        ("[]", "1 to 1000 symbols"),
    ],
)
def test_a_universe_that_cannot_be_meant_is_refused(
    tmp_path: Path, symbols: str, part: str
) -> None:
    assert part in refusal(tmp_path, f"[universe]\nsymbols = {symbols}\n")


def test_a_missing_universe_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, "").startswith("universe: is missing; add it")


def test_the_environment_overrides_the_file_with_the_type_of_the_key(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        MINIMAL,
        OPENBELL__HTTP__PORT="9000",
        OPENBELL__STATE__DIRECTORY="12345",
        OPENBELL__BROKER__EMBEDDED__FAULTS='["lose_answer:order=1"]',
        OPENBELL__STRATEGIES__FORECAST__CAPITAL_FRACTION="0.5",
        OPENBELL__CLOCK__START="2022-11-14T07:00:00-05:00",
        UNRELATED="x",
    )

    assert config.http.port == 9000
    assert config.state.directory == "12345"
    assert config.broker.embedded.faults == ("lose_answer:order=1",)
    assert config.strategies["forecast"] == {"capital_fraction": 0.5}
    assert config.clock.start == "2022-11-14T07:00:00-05:00"


def test_n02_a_misspelt_name_in_the_environment_is_refused_too(tmp_path: Path) -> None:
    assert "http.prot" in refusal(tmp_path, MINIMAL, OPENBELL__HTTP__PROT="1")
    told = refusal(tmp_path, MINIMAL, OPENBELL_RISK__MAX_DAILY_LOSS_PCT="1")
    assert told == (
        "OPENBELL_RISK__MAX_DAILY_LOSS_PCT: sets nothing; did you mean"
        " `OPENBELL__RISK__MAX_DAILY_LOSS_PCT`?"
    )
    assert loaded(tmp_path, MINIMAL, OPENBELL_LIVE="1", OPENBELL_HTTP_TOKEN="x").mode == "paper"


def test_a_state_directory_without_a_name_is_refused(tmp_path: Path) -> None:
    assert "state.directory" in refusal(tmp_path, MINIMAL, OPENBELL__STATE__DIRECTORY="")


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        ('[clock]\nkind = "replay"\n[broker]\nkind = "alpaca"\n', "clock.kind"),
        ('[broker]\nkind = "embedded"\n', "broker.kind"),
    ],
)
def test_live_mode_refuses_replay_and_the_embedded_broker(
    tmp_path: Path, extra: str, part: str
) -> None:
    assert part in refusal(tmp_path, f'mode = "live"\n{MINIMAL}{extra}')


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[universe", b"a = 1\na = 2\n"])
def test_n03_a_file_that_is_not_toml_is_named_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"config\.toml"):
        load(path, {})


def test_n03_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="openbell init"):
        load(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "[::1]:8", "LOCALHOST"])
def test_keys_may_travel_in_the_clear_on_this_machine(tmp_path: Path, host: str) -> None:
    config = loaded(tmp_path, MINIMAL + f'[marketdata.alpaca]\ndata_url = "http://{host}"\n')

    assert config.marketdata.alpaca.data_url == f"http://{host}"


def test_an_address_that_is_empty_by_default_may_be_left_empty(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL + '[forecasts.remote]\nurl = ""\n')

    assert config.forecasts.remote.url == ""
