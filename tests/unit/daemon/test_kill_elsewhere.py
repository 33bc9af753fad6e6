"""A kill that is typed in another folder than the daemon's latches the books it can find."""

from pathlib import Path

import pytest

from daemon.config import state_directory
from daemon.config_for_kill import read_for_kill
from state.files import DATABASE

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


def test_k01_without_books_anywhere_a_kill_says_whom_it_may_have_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, elsewhere, config = folders(tmp_path, monkeypatch)

    found = read_for_kill(config, {})

    assert found.directory == Path("books")
    assert any(f"{elsewhere / 'books'} holds no books" in note for note in found.notes)
