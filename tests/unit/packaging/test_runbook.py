"""The runbook names every alert, and no command that does not exist."""

import re
import shlex

import pytest

from daemon.cli import app
from daemon.telemetry.hub import URGENT
from tests.support.runbook import PAGE, blocks, inline
from tests.support.running import REPOSITORY

RULES = (REPOSITORY / "deploy" / "prometheus" / "openbell.rules.yml").read_text()
UNITS = {path.stem for path in (REPOSITORY / "systemd").glob("*.service")}
EXECUTED = [command for block in blocks() if block.language == "sh" for command in block.commands]
FOR_ROOT = [
    command for block in blocks() if block.language == "console" for command in block.commands
]


def test_every_alert_rule_has_its_line_and_no_other_is_described() -> None:
    described = re.findall(r"^\| (Openbell\w+) \|", PAGE, re.MULTILINE)

    assert sorted(described) == sorted(re.findall(r"alert: (\w+)", RULES))


def test_every_alert_that_the_daemon_sends_has_its_line_and_no_other_is_described() -> None:
    table = PAGE[PAGE.index("## Alerts that the daemon sends") :]
    kinds = " ".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE))

    assert sorted(re.findall(r"`([a-z_]+\.[a-z_]+)`", kinds)) == sorted(URGENT)


def test_every_openbell_command_named_in_passing_is_executed_in_a_block() -> None:
    named = {span for span in inline() if span.startswith("openbell ")} - {
        "openbell kill --flatten"
    }
    missing = [span for span in named if not any(line.startswith(span) for line in EXECUTED)]

    assert missing == []


def test_blocks_are_of_two_kinds_and_those_to_execute_say_where() -> None:
    assert {block.language for block in blocks()} == {"sh", "console"}
    assert {b.scene for b in blocks() if b.language == "sh"} == {
        "running",
        "stopped",
        "closed",
        "new",
        "live",
    }
    assert all(command.startswith("openbell ") for command in EXECUTED)


def test_units_named_for_systemctl_and_journalctl_exist() -> None:
    lines = [*FOR_ROOT, *(span for span in inline() if not span.startswith("openbell"))]
    named = {
        word
        for line in lines
        if re.search(r"\b(systemctl|journalctl)\b", line)
        for word in shlex.split(line)
        if word.startswith("openbell")
    }

    assert named
    assert named <= UNITS


@pytest.mark.parametrize("line", FOR_ROOT)
def test_what_needs_root_names_paths_and_commands_that_exist(line: str) -> None:
    words = shlex.split(line.removeprefix("sudo "))
    known = {"git", "make", "install", "mv", "systemctl", "systemd-sysusers", "openbell"}
    assert words[0].split("/")[-1] in known
    if words[0].endswith("openbell"):
        commands = {one.name or one.callback.__name__ for one in app.registered_commands}  # type: ignore[union-attr]
        command, *_ = words[3:] if words[1] == "--config" else words[1:]
        assert command in commands
    if words[0] == "make":
        makefile = (REPOSITORY / "Makefile").read_text()
        assert re.search(rf"^{words[-1]}:", makefile, re.MULTILINE)
    for word in words:
        if word.startswith("/etc/openbell/credentials/"):
            name = word.split("/")[-1]
            assert (
                f"LoadCredential={name}:{word}"
                in (REPOSITORY / "systemd" / "openbell.service").read_text()
            )
