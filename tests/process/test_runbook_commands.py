"""Every command of docs/runbook.md against a real paper server."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_SECONDS, Process, World, environment, wait_for
from tests.support.runbook import Block, blocks

Open = Callable[..., World]
LIVE = {
    "OPENBELL__MODE": "live",
    "OPENBELL__CLOCK__KIND": "system",
    "OPENBELL__BROKER__ALPACA__TRADING_URL": "https://api.alpaca.markets",
    "OPENBELL__BROKER__ALPACA__TRADE_STREAM_URL": "wss://api.alpaca.markets/stream",
}


def bin_folder(home: Path) -> Path:
    """Make `openbell` a command of this Python, as an installation does."""
    folder = home / "bin"
    folder.mkdir()
    script = folder / "openbell"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m daemon "$@"\n')
    script.chmod(0o755)
    return folder


def run_block(block: Block, home: Path, world: World, path: Path) -> None:
    urls = world.urls
    paper = {
        "OPENBELL__BROKER__ALPACA__TRADING_URL": urls["trading_url"],
        "OPENBELL__BROKER__ALPACA__TRADE_STREAM_URL": urls["trade_stream_url"],
        "OPENBELL__MARKETDATA__ALPACA__DATA_URL": urls["trading_url"],
        "OPENBELL__CLOCK__KIND": "replay",
    }
    done = subprocess.run(
        ["/bin/sh", "-euxc", block.text],
        cwd=home,
        env=environment(
            PATH=f"{path}{os.pathsep}{os.environ['PATH']}",
            LAST4="DED1",
            ACCOUNT="123456789",
            **{"new": paper, "live": LIVE}.get(block.scene, {}),
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 4,
        check=False,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr


def _has_report(world: World) -> bool:
    return any((world.state / "reports").glob("*/report.html"))


@pytest.mark.slow
def test_every_command_of_the_runbook_does_what_it_says(open_world: Open, tmp_path: Path) -> None:
    world = open_world(start="2022-11-14T08:32:00", speed=300)
    path = bin_folder(tmp_path)
    new = tmp_path / "new"
    new.mkdir()
    daemon: Process | None = world.daemon()
    assert daemon is not None
    wait_for("the end of the day", lambda: _has_report(world), seconds=300)
    # The look at a day that is over comes before the next one begins.
    shell = [block for block in blocks() if block.language == "sh"]
    for block in sorted(shell, key=lambda block: block.scene != "closed"):
        if block.scene in {"running", "closed"} and daemon is None:
            daemon = world.daemon()
            daemon.wait_event("account.read")
        if block.scene == "stopped" and daemon is not None:
            assert daemon.terminate() == 0
            daemon = None
        run_block(block, new if block.scene == "new" else tmp_path, world, path)
    with world.reader() as reader:
        assert reader.status()["kill"]["engaged"] is False
    assert world.violations() == []
