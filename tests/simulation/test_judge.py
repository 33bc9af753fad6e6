"""Is the judge awake, and does the generator play what it says?"""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests import fault_rows
from tests.simulation import __main__ as command
from tests.simulation import faults, planted_bugs
from tests.simulation.fault_counts import NO_FAULT, by_row, rows_of_classes, table
from tests.simulation.faults import CLASSES
from tests.simulation.planted import BUGS, ROOT, plant


def test_a_violated_invariant_is_told_with_its_replay_and_a_failing_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--seeds", "4", "--seed-start", "3", "--days", "1", "--look", "1800", "--canary"]
    monkeypatch.setattr("sys.argv", ["simulation", *words, "--quiet"])
    assert command.main() == 1

    told = capsys.readouterr().out
    assert "VIOLATION I00" in told
    replay = re.search(r"replay: \S+ -m tests.simulation (.*)", told)
    assert replay is not None
    monkeypatch.setattr("sys.argv", ["simulation", *replay[1].split()])
    assert command.main() == 1
    assert "VIOLATION I00" in capsys.readouterr().out


def test_every_row_that_a_fault_class_names_is_in_the_published_table() -> None:
    listed = set(re.findall(r"^\| ([A-Z]\d{2}) \|", fault_rows.DOCUMENT.read_text(), re.MULTILINE))
    assert set(by_row({})) <= listed


def test_every_fault_class_names_its_rows() -> None:
    rows = rows_of_classes()
    assert set(rows) == set(CLASSES)
    assert {name for name, found in rows.items() if not found} == NO_FAULT


def test_stories_are_made_of_known_classes() -> None:
    assert set().union(*faults.STORIES) <= set(CLASSES)


def test_rows_add_up_the_firings_of_their_classes() -> None:
    counts = by_row(Counter({"send.rejected": 60, "send.lost_after": 150}))
    assert (counts["A13"], counts["A15"], counts["A02"], counts["K12"]) == (60, 60, 150, 0)
    assert "A02       150  send.lost_after" in table(Counter({"send.lost_after": 150}))


def test_forty_planted_bugs_fit_the_code_and_can_be_parsed(tmp_path: Path) -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
    for bug in BUGS:
        files = {path for path, _, _ in bug.changes}
        for path in files:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes((ROOT / path).read_bytes())
        plant(tmp_path, bug)
        for path in files:
            ast.parse((tmp_path / path).read_text(encoding="utf-8"), path)


def test_a_story_that_is_played_alone_for_a_planted_bug_is_told_by_ordinary_seeds_too() -> None:
    assert planted_bugs.STORIES.keys() <= {bug.name for bug in BUGS}
    # A single class is no story: ordinary seeds play each by itself.
    told = {story for story in planted_bugs.STORIES.values() if len(story) > 1}
    assert told <= set(faults.STORIES)
    assert set().union(*planted_bugs.STORIES.values()) <= faults.CLASSES.keys()
