"""A kill that is typed in another folder than the daemon's latches the books it can find."""

import contextlib
import errno
import shutil
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.command_line import Options
from daemon.commands.stopping import kill
from daemon.config import state_directory
from daemon.config_for_kill import read_for_kill
from domain.clock import SystemClock
from state.files import DATABASE
from state.latch import Latch
from state.latch_record import KillAction
from tests.support.fake_broker import FakeBroker
from tests.support.kill_scene import AAPL

TEXT = '[universe]\nsymbols = ["AAPL"]\n[broker]\nkind = "embedded"\n[state]\ndirectory = "books"\n'


def folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *holding_books: str
) -> tuple[Path, Path, Path]:
    """Make the folder of the configuration and another one, and go to the other one."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        (folder / "books").mkdir(parents=True)
        if folder.name in holding_books:
            (folder / "books" / DATABASE).touch()
    (home / "config.toml").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    return home, elsewhere, home / "config.toml"


def test_k01_books_beside_the_configuration_are_latched_where_none_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _, config = folders(tmp_path, monkeypatch, "home")

    found = read_for_kill(config, {})

    assert found.directory == home / "books"
    assert state_directory(found.config) == home / "books", "the embedded account is there too"
    assert any("beside the configuration" in note for note in found.notes)


def test_k01_a_configuration_with_a_mistake_in_it_leads_to_its_books_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _, config = folders(tmp_path, monkeypatch, "home")
    config.write_text(TEXT + "[risk]\nmax_drawdown_pct = five\n", encoding="utf-8")

    assert read_for_kill(config, {}).directory == home / "books"


@pytest.mark.parametrize("holding_books", [("elsewhere",), ("home", "elsewhere")])
def test_k01_books_of_the_current_folder_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holding_books: tuple[str, ...]
) -> None:
    _, _, config = folders(tmp_path, monkeypatch, *holding_books)

    found = read_for_kill(config, {})

    assert found.directory == Path("books")
    assert found.notes == ()


def test_k01_of_two_books_of_one_account_both_are_latched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere, config = folders(tmp_path, monkeypatch, "home", "elsewhere")
    config.write_text(
        TEXT.replace('"embedded"', '"alpaca"')
        + '[broker.alpaca]\ntrading_url = "http://127.0.0.1:9"\n',
        encoding="utf-8",
    )

    status = kill(Options(config=config, json=False), flatten=False, as_before=False, reason="both")

    assert status == 2, "nobody answers at that address"
    for folder in (home, elsewhere):
        latch = Latch(folder / "books").read()
        assert (latch.is_engaged, latch.reason, latch.pending) == (True, "both", KillAction.CANCEL)


def both_of_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, FakeBroker]:
    """Make two books of one account, with a broker that answers; return the configuration."""
    _, _, config = folders(tmp_path, monkeypatch, "home", "elsewhere")
    config.write_text(TEXT.replace('"embedded"', '"alpaca"'), encoding="utf-8")
    broker = FakeBroker(SystemClock())

    @contextlib.asynccontextmanager
    async def connect(*_: object, **__: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(broker=broker, clock=SystemClock())

    monkeypatch.setattr("daemon.commands.stopping.connect", connect)
    return config, broker


def test_k01_of_two_books_of_one_account_both_know_that_the_kill_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Left pending in one, no resume there was possible, and its next start closed positions.
    config, _ = both_of_one_account(tmp_path, monkeypatch)

    status = kill(Options(config=config, json=False), flatten=True, as_before=False, reason="both")

    assert status == 0
    for folder in ("home", "elsewhere"):
        latch = Latch(tmp_path / folder / "books").read()
        assert (latch.is_engaged, latch.pending, latch.is_broker_locked) == (True, None, True)


def test_k01_the_kill_unit_flattens_where_a_person_did_for_the_other_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, broker = both_of_one_account(tmp_path, monkeypatch)
    broker.fills_at_once = True
    broker.quantities[AAPL] = Decimal(7)
    beside = Latch(config.parent / "books")
    beside.arm_new(SystemClock().now())
    beside.engage("typed", SystemClock().now(), pending=KillAction.FLATTEN)

    kill(Options(config=config, json=False), flatten=False, as_before=True, reason="the unit")

    assert broker.quantities[AAPL] == 0


def test_k01_without_books_anywhere_a_kill_says_whom_it_may_have_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, elsewhere, config = folders(tmp_path, monkeypatch)

    found = read_for_kill(config, {})

    assert found.directory == Path("books")
    assert any(f"{elsewhere / 'books'} holds no books" in note for note in found.notes)


def test_k01_a_kill_typed_in_a_folder_that_was_removed_finds_the_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere, config = folders(tmp_path, monkeypatch, "home")
    shutil.rmtree(elsewhere)

    assert read_for_kill(config, {}).directory == home / "books"


def test_k01_a_kill_in_a_removed_folder_goes_on_where_no_books_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, elsewhere, config = folders(tmp_path, monkeypatch)
    shutil.rmtree(elsewhere)

    found = read_for_kill(config, {})

    assert found.is_broker_known
    assert any("holds no books" in note for note in found.notes)


def test_k01_a_default_configuration_that_may_not_be_looked_at_ends_no_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may look at everything, so the refusal is played.
    hidden = tmp_path / "hidden" / "config.toml"
    monkeypatch.setattr("daemon.config.DEFAULT_PATHS", (hidden,))
    exists, read_bytes, read_text = Path.exists, Path.read_bytes, Path.read_text
    refusal = PermissionError(errno.EACCES, "Permission denied", str(hidden))

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, **how: Any) -> Any:
            if path == hidden:
                raise refusal
            return real(path, **how)

        return call

    monkeypatch.setattr(Path, "exists", refusing(exists))
    monkeypatch.setattr(Path, "read_bytes", refusing(read_bytes))
    monkeypatch.setattr(Path, "read_text", refusing(read_text))

    found = read_for_kill(None, {})

    assert not found.is_broker_known
    assert str(hidden) in " ".join(found.doubts)
