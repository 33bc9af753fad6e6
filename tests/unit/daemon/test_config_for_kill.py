"""A kill leaves out what is wrong in the configuration, and guesses neither broker nor latch."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config_for_kill import KillConfig, read_for_kill
from daemon.damaged_toml import legible
from state.files import DATABASE

LIVE = 'mode = "live"\n'
UNIVERSE = '[universe]\nsymbols = ["AAPL"]\n'
BROKER = '[broker]\nkind = "alpaca"\n'
ADDRESS = '[broker.alpaca]\ntrading_url = "https://api.alpaca.markets"\n'
STATE = '[state]\ndirectory = "/srv/books"\n'
SOUND = LIVE + UNIVERSE + STATE + BROKER + ADDRESS


def found(tmp_path: Path, text: str, **environ: str) -> KillConfig:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_for_kill(path, environ)


def test_of_a_sound_configuration_nothing_is_doubted(tmp_path: Path) -> None:
    sound = found(tmp_path, SOUND)

    assert (sound.doubts, sound.notes, sound.is_broker_known) == ((), (), True)
    assert sound.directory == Path("/srv/books")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("read_timeout = 5.0\n", "broker.alpaca.read_timeout: unknown key; did you mean"),
        ("read_timeout_seconds = -1\n", "broker.alpaca.read_timeout_seconds = -1"),
        ('trade_stream_url = 5\n[clock]\nspeed = "x"\n', "broker.alpaca.trade_stream_url = 5"),
        ('[clock]\nkind = "replay"\n', "live mode trades on the system clock only"),
        ("[clocks]\nspeed = 1\n", "clocks: unknown key"),
        ("[risk]\nmax_drawdwon_pct = 5\n", ""),
        ('[universe.extra]\nsymbols = "spy"\n', "universe.extra: unknown key"),
    ],
)
def test_n02_what_a_kill_does_not_need_is_left_out_alone_and_told(
    tmp_path: Path, extra: str, told: str
) -> None:
    kept = found(tmp_path, SOUND + extra)

    assert kept.doubts == ()
    assert kept.is_broker_known
    assert told in "\n".join(kept.notes)
    assert bool(kept.notes) is bool(told)
    config = kept.config
    assert (config.mode, config.broker.kind) == ("live", "alpaca")
    assert config.broker.alpaca.trading_url == "https://api.alpaca.markets"
    assert kept.directory == Path("/srv/books")


@pytest.mark.parametrize("universe", ["[universe]\n", '[universe]\nsymbls = ["AAPL"]\n', ""])
def test_n02_a_kill_needs_no_symbols(tmp_path: Path, universe: str) -> None:
    kept = found(tmp_path, SOUND.replace(UNIVERSE, universe))

    assert (kept.doubts, kept.is_broker_known) == ((), True)
    assert kept.config.mode == "live"
    assert kept.directory == Path("/srv/books")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2),
)


def places(table: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the path of every key and section."""
    found: list[tuple[str, ...]] = [(key,) for key in table]
    for key, value in table.items():
        if isinstance(value, dict):
            found += [(key, *rest) for rest in places(value)]
    return found


@given(st.data())
def test_n02_whatever_is_wrong_in_one_place_a_kill_begins_and_asks_no_other_broker(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    table = tomllib.loads(SOUND + "[clock]\nkind = 'system'\n[risk]\nallow_short = false\n")
    *sections, key = data.draw(st.sampled_from(places(table)))
    where: dict[str, Any] = table
    for name in sections:
        where = where[name]
    what = data.draw(st.sampled_from(["gone", "renamed", "junk"]))
    value = where.pop(key)
    if what == "renamed":
        where[data.draw(st.text(min_size=1, max_size=8))] = value
    elif what == "junk":
        where[key] = data.draw(JUNK)
    path = tmp_path_factory.getbasetemp() / "one-place.toml"

    with mock.patch("daemon.config_for_kill.read_toml", return_value=table):
        kept = read_for_kill(path, {})

    assert kept.is_broker_known <= (kept.config.broker.kind == "alpaca")
    assert bool(kept.doubts) or kept.directory is not None


def test_n02_an_unknown_key_beside_it_loses_neither_directory_nor_environment(
    tmp_path: Path,
) -> None:
    text = SOUND + '[state.more]\ndirectroy = "x"\n'

    assert found(tmp_path, text).directory == Path("/srv/books")
    override = {"OPENBELL__STATE__DIRECTORY": "elsewhere"}
    kept = found(tmp_path, text.replace('directory = "/srv/books"', "keep = 3"), **override)
    assert kept.directory == Path("elsewhere")
    assert kept.doubts == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (SOUND.replace('kind = "alpaca"', 'kind = "alpcaa"'), "broker.kind = 'alpcaa'"),
        (SOUND.replace("kind", "knid"), "broker.knid: unknown key"),
        (SOUND.replace("[broker", "[brokr"), "brokr: unknown key"),
        (SOUND.replace("trading_url", "trading_ulr"), "broker.alpaca.trading_ulr: unknown key"),
        (SOUND.replace('"https://api.alpaca.markets"', "5"), "broker.alpaca.trading_url = 5"),
        (SOUND.replace(".markets", ".markets:port"), "must be an address such as https://HOST"),
        (SOUND.replace(ADDRESS, 'alpaca = "api.alpaca.markets"\n'), "broker.alpaca: must be"),
        (LIVE + 'broker = "alpaca"\n' + UNIVERSE + STATE, "broker: must be a section"),
        (SOUND.replace("alpaca", "embedded", 1), 'live mode needs kind = "alpaca"'),
        (LIVE + UNIVERSE + STATE, 'live mode needs kind = "alpaca"'),
    ],
)
def test_n02_a_broker_that_was_written_and_cannot_be_used_is_not_replaced_by_the_default(
    tmp_path: Path, text: str, named: str
) -> None:
    kept = found(tmp_path, text)

    assert not kept.is_broker_known
    assert kept.directory == Path("/srv/books")
    (doubt,) = kept.doubts
    assert named in doubt
    assert "the broker is not known" in doubt
    assert "run `openbell kill` again" in doubt


def test_a_mode_that_cannot_be_used_leaves_the_broker_known_and_nothing_verified(
    tmp_path: Path,
) -> None:
    kept = found(tmp_path, SOUND.replace('"live"', '"lvie"'))

    assert kept.is_broker_known
    assert "mode = 'lvie'" in kept.doubts[0]


@pytest.mark.parametrize(
    "state",
    [
        "[state]\ndirectory = 7\n",
        '[state]\ndirectory = ""\n',
        '[state]\ndirectroy = "books"\n',
        '[stat]\ndirectory = "x"\n',
        "",
    ],
)
def test_n02_a_state_directory_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.chdir(tmp_path)
    home = "" if state else '[state]\ndirectory = "~nobody-of-this-name/x"\n'
    text = SOUND.replace(STATE, state + home)

    kept = found(tmp_path, text)

    assert kept.is_broker_known
    assert kept.directory is None
    assert "the state directory is not known" in kept.doubts[0]


def test_the_books_in_the_default_directory_are_latched_where_none_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / DATABASE).touch()

    kept = found(tmp_path, SOUND.replace('"/srv/books"', "7"))

    assert kept.directory == Path("var")
    assert f"latched in {tmp_path}/var" in kept.doubts[0]


def test_the_embedded_broker_is_not_known_without_its_directory(tmp_path: Path) -> None:
    text = UNIVERSE + '[broker]\nkind = "embedded"\n[state]\ndirectory = 7\n'

    assert not found(tmp_path, text).is_broker_known


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[broker", b"a = 1\na = 2\n", b"a = " + b"9" * 5000]
)
def test_n03_a_file_that_cannot_be_read_leaves_the_broker_unknown(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)

    kept = read_for_kill(path, {"OPENBELL__STATE__DIRECTORY": "elsewhere"})

    assert not kept.is_broker_known
    assert kept.directory == Path("elsewhere")
    assert "config" in kept.doubts[0]


def test_n03_without_any_file_the_environment_may_name_the_broker(tmp_path: Path) -> None:
    named = {
        "OPENBELL__STATE__DIRECTORY": "elsewhere",
        "OPENBELL__BROKER__KIND": "alpaca",
        "OPENBELL__BROKER__ALPACA__TRADING_URL": "https://paper-api.alpaca.markets",
    }

    assert read_for_kill(tmp_path / "nowhere.toml", named).doubts == ()
    for name in named:
        less = {key: text for key, text in named.items() if key != name}
        kept = read_for_kill(tmp_path / "nowhere.toml", less)
        assert "nowhere.toml: no such file" in kept.doubts[0]
        assert kept.is_broker_known is (name == "OPENBELL__STATE__DIRECTORY")


def test_a_variable_that_does_not_fit_the_file_stops_no_kill(tmp_path: Path) -> None:
    odd = found(tmp_path, SOUND, OPENBELL__MODE__SPEED="1", OPENBELL__CLOCK="system")
    assert odd.doubts == ()
    assert "OPENBELL__MODE__SPEED" in "\n".join(odd.notes)

    almost = found(tmp_path, SOUND, OPENBELL_RISK__MAX_DAILY_LOSS_PCT="1")
    assert almost.doubts == ()
    assert "did you mean" in almost.notes[0]

    lost = found(tmp_path, SOUND, OPENBELL__BROKER="alpaca")
    assert not lost.is_broker_known


EDITED = LIVE + UNIVERSE + "[risk]\nmax_order_notional_usd = 5000\n" + STATE + BROKER + ADDRESS


@pytest.mark.parametrize(
    ("right", "slip"),
    [
        ("max_order_notional_usd = 5000", "max_order_notional_usd = 5_000 USD"),
        ("max_order_notional_usd = 5000", "max_order_notional_usd ="),
        ("max_order_notional_usd = 5000", 'max_order_notional_usd = "5000'),
        ('symbols = ["AAPL"]', 'symbols = ["AAPL" "MSFT"]'),
        ('symbols = ["AAPL"]', 'symbols = [\n  "AAPL"\n  "MSFT",\n]'),
        ("[risk]", "# caf\udce9\n[risk]"),
    ],
)
def test_n03_a_slip_in_a_line_that_a_kill_does_not_go_by_stops_no_kill(
    tmp_path: Path, right: str, slip: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(EDITED.replace(right, slip).encode("utf-8", errors="surrogateescape"))

    kept = read_for_kill(path, {})

    assert kept.doubts == ()
    assert kept.is_broker_known
    assert kept.directory == Path("/srv/books")
    assert kept.config.broker.alpaca.trading_url == "https://api.alpaca.markets"
    assert [told for told in kept.notes if str(path) in told]


@pytest.mark.parametrize(
    ("right", "slip"),
    [
        ('kind = "alpaca"', 'kind = "alpaca'),
        ('kind = "alpaca"', 'kind "alpaca"'),
        ('kind = "alpaca"', 'allow_short = false kind = "alpaca"'),
        ('kind = "alpaca"', 'kind = "embedded"\nkind = "alpaca"'),
        ('kind = "alpaca"', 'kind = "alpaca"  # caf\udce9'),
        ("[broker]", "[broker"),
        ("[broker]", '[broker\nkind = "embedded"\n[broker]'),
        ('symbols = ["AAPL"]', 'symbols = ["AAPL"'),
        ('mode = "live"', 'mode = "live'),
        ('mode = "live"', 'name = """'),
    ],
)
def test_n03_a_slip_that_may_hide_the_broker_leaves_it_unknown(
    tmp_path: Path, right: str, slip: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(EDITED.replace(right, slip).encode("utf-8", errors="surrogateescape"))

    kept = read_for_kill(path, {})

    assert not kept.is_broker_known
    assert kept.doubts


@given(st.integers(0, len(EDITED) - 1), st.text("[]=\"'#\nax1 ", max_size=3))
def test_n03_no_slip_makes_another_broker_of_the_one_that_is_named(at: int, slip: str) -> None:
    text = EDITED[:at] + slip + EDITED[at + 1 :]
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        table = legible(text.encode())
    else:
        return
    broker = table.get("broker", {})

    assert table.get("mode") in {None, "live"}
    assert broker.get("kind") in {None, "alpaca"}
    assert broker.get("alpaca", {}).get("trading_url") in {None, "https://api.alpaca.markets"}
    assert table.get("state", {}).get("directory") in {None, "/srv/books"}
