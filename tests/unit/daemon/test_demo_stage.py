"""Where a demo puts what it leaves behind: never in the place of what is not its own."""

from pathlib import Path

import pytest

from daemon.demo.stage import stage
from domain.errors import StateError
from state.files import LOCK, WriterLock


def lived(out: Path) -> None:
    """Leave behind what a demo leaves behind."""
    with stage(out) as workplace:
        (workplace / "openbell.db").write_text("new books")
        (workplace / "openbell.db-wal").write_text("")
        (workplace / LOCK).touch(mode=0o600)
        (workplace / "KILL").write_text("{}")
        (workplace / "demo.log").write_text("")
        (workplace / "paper").mkdir()
        (workplace / "reports").mkdir()


@pytest.mark.parametrize("name", ["thesis.txt", "photos", ".ssh", "models.txt", "paper", "reports"])
def test_a_folder_with_anything_else_in_it_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    place = home / name
    place.write_text("mine") if "." in name[1:] else place.mkdir()

    with pytest.raises(StateError, match=f"holds '{name}', which is no state of openbell"):
        lived(home)

    assert sorted(path.name for path in home.iterdir()) == sorted(["models", name])
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_what_is_put_there_while_the_day_is_lived_is_not_lost_either(tmp_path: Path) -> None:
    out = tmp_path / "var"

    def begin_notes() -> None:
        with stage(out):
            out.mkdir()
            (out / "notes").write_text("mine")

    with pytest.raises(StateError, match="notes"):
        begin_notes()

    assert (out / "notes").read_text() == "mine"


def test_a_demo_takes_the_place_of_the_one_before_and_keeps_models_and_fetched_bars(
    tmp_path: Path,
) -> None:
    out = tmp_path / "var"
    lived(out)
    (out / "reports" / "old").mkdir()
    for kept in ("models", "bars"):
        (out / kept).mkdir()
        (out / kept / "file").write_text(kept)

    lived(out)

    assert (out / "openbell.db").read_text() == "new books"
    assert not (out / "reports" / "old").exists()
    assert [(out / kept / "file").read_text() for kept in ("models", "bars")] == ["models", "bars"]


def test_a_folder_in_which_a_daemon_is_at_work_is_not_taken_from_under_it(tmp_path: Path) -> None:
    out = tmp_path / "var"
    lived(out)
    at_work = WriterLock(out / LOCK)

    with pytest.raises(StateError, match="in use by another openbell: stop that one first"):
        lived(out)

    at_work.release()
    lived(out)
