"""``openbell resume``, as a command on the embedded broker."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

import execution.resume
from daemon.cli import _run as command_line
from domain.clock import SystemClock
from state.latch import Latch
from tests.support.running import REPOSITORY

RESUME = ("resume", "--reason", "drill", "--confirm", "DED1")


def openbell(home: Path, *arguments: str) -> int:
    with contextlib.chdir(home):
        return command_line(["--config", str(REPOSITORY / "config.toml"), "--json", *arguments])


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert openbell(tmp_path, "kill") == 0
    capsys.readouterr()
    return tmp_path


def test_resume_releases_the_latch(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert openbell(home, *RESUME) == 0

    assert json.loads(capsys.readouterr().out)["kill"]["engaged"] is False


def test_a_kill_right_after_the_release_is_told_as_a_failure(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = execution.resume.resume

    async def and_killed_again(broker: Any, latch: Latch, **others: Any) -> None:
        await real(broker, latch, **others)
        latch.engage("a second person", SystemClock().now())

    monkeypatch.setattr(execution.resume, "resume", and_killed_again)

    assert openbell(home, *RESUME) == 78

    told = capsys.readouterr()
    assert "engaged again at once (a second person)" in told.out + told.err
