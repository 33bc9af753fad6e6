"""``openbell init`` and the unit files it writes."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon import credentials
from daemon.commands.init import rendered, unit_files
from daemon.config import load
from tests.support.running import REPOSITORY, free_port
from tests.support.tools import tool

UNITS = sorted((REPOSITORY / "systemd").glob("*.service"))
DAEMON_UNIT = REPOSITORY / "systemd" / "openbell.service"


def openbell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_the_written_configuration_is_for_paper_and_is_accepted(tmp_path: Path) -> None:
    done = openbell("init", cwd=tmp_path)

    config = load(tmp_path / "config.toml", {})
    assert done.returncode == 0, done.stderr
    assert (config.mode, config.broker.kind, config.clock.kind) == ("paper", "alpaca", "system")
    assert config.marketdata.provider == "alpaca"
    assert "paper-api.alpaca.markets" in config.broker.alpaca.trading_url
    assert re.search(r"^  \S*openbell run$", done.stdout, re.MULTILINE)


def test_the_units_and_the_operators_command_have_their_places(tmp_path: Path) -> None:
    beside = unit_files(tmp_path / "config.toml", is_root=False)
    installed = unit_files(Path("/etc/openbell/config.toml"), is_root=True)

    assert {path.parent for path in beside} == {tmp_path / "systemd"}
    assert {str(path) for path in installed} == {
        "/etc/systemd/system/openbell.service",
        "/etc/systemd/system/openbell-kill.service",
        "/etc/systemd/system/openbell-models.service",
        "/etc/sysusers.d/openbell.conf",
        "/usr/local/bin/openbell",
    }
    command = installed[Path("/usr/local/bin/openbell")]
    assert command.startswith("#!/bin/sh\n")
    assert f"{sys.prefix}/bin/openbell --config /etc/openbell/config.toml" in command


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("mine")

    done = openbell("--config", "config.toml", "init", cwd=tmp_path)

    assert done.returncode == 64
    assert "config.toml exists already" in done.stderr
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_beside_the_embedded_default_it_writes_another_file_with_books_of_its_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text("mine")

    done = openbell("init", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "config.toml").read_text() == "mine"
    assert load(tmp_path / "paper.toml", {}).state.directory == "var-paper"
    assert "openbell --config paper.toml doctor" in done.stdout
    assert openbell("init", cwd=tmp_path).returncode == 64


def test_the_template_knows_every_section_of_the_shipped_configuration() -> None:
    def sections(path: Path) -> set[str]:
        return set(re.findall(r"^\[(.+)\]$", path.read_text(), re.MULTILINE))

    missing = sections(REPOSITORY / "config.toml") - sections(
        REPOSITORY / "daemon" / "alpaca_paper.toml"
    )
    assert missing == {"broker.embedded"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_accepted_by_systemd_and_well_closed(unit: Path, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    for other in UNITS:
        text = rendered(other.read_text(), prefix=tmp_path)
        (tmp_path / other.name).write_text(text)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "openbell").symlink_to("/bin/true")

    verified = subprocess.run(
        [analyze, "verify", str(tmp_path / unit.name)], capture_output=True, text=True, check=False
    )
    scored = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=15", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")
    assert scored.returncode == 0, scored.stdout[-300:]


def test_the_service_is_handed_every_secret_that_the_daemon_looks_for() -> None:
    # A file that only a command by hand reads: the doctor finds it, the service does not.
    wanted = {text for name, text in vars(credentials).items() if name.isupper() and name[0] != "_"}
    loaded = settings(DAEMON_UNIT, "LoadCredential")
    optional = {one.partition(":")[0] for one in settings(DAEMON_UNIT, "SetCredential")}

    assert set(loaded) == {f"{name}:/etc/openbell/credentials/{name}" for name in wanted}
    assert optional == wanted - {credentials.BROKER_KEY_ID, credentials.BROKER_SECRET_KEY}


def test_a_daemon_that_stays_dead_is_followed_by_a_kill() -> None:
    kill = REPOSITORY / "systemd" / "openbell-kill.service"

    assert settings(DAEMON_UNIT, "OnFailure") == [kill.name]
    assert " kill --as-before --reason " in settings(kill, "ExecStart")[0]
    assert settings(DAEMON_UNIT, "RestartPreventExitStatus") == ["78"]
    assert settings(DAEMON_UNIT, "StartLimitBurst") == ["5"]
    assert int(settings(DAEMON_UNIT, "TimeoutStopSec")[0]) <= 60


def test_an_installation_under_home_is_let_through() -> None:
    unit = rendered(
        DAEMON_UNIT.read_text(), prefix=Path("/home/ann/openbell/.venv"), base=Path("/usr")
    )

    assert "ExecStart=/home/ann/openbell/.venv/bin/openbell" in unit
    assert "BindReadOnlyPaths=/home/ann/openbell\n" in unit
    assert "ProtectHome=tmpfs" in unit


def test_a_python_that_lives_in_a_home_is_let_through_too() -> None:
    unit = rendered(
        DAEMON_UNIT.read_text(),
        prefix=Path("/opt/openbell/.venv"),
        base=Path("/home/ann/.pyenv/versions/3.11.7"),
    )

    assert "ProtectHome=tmpfs\nBindReadOnlyPaths=/home/ann/.pyenv/versions/3.11.7\n" in unit


@contextmanager
def service(
    tmp_path: Path, **environ: str
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Start the unit's own command line as systemd would: notify socket, watchdog, credentials."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    config = tmp_path / "config.toml"
    config.write_text((REPOSITORY / "config.toml").read_text())
    line = settings(DAEMON_UNIT, "ExecStart")[0].replace("/etc/openbell/config.toml", str(config))
    program, *arguments = shlex.split(line)
    assert program == "/opt/openbell/.venv/bin/openbell"
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "4000000",
        "OPENBELL__STATE__DIRECTORY": str(tmp_path / "state"),
        "OPENBELL__CLOCK__SPEED": "600",
        "OPENBELL__HTTP__PORT": str(free_port()),
        **environ,
    }
    command = [str(Path(sys.prefix) / "bin" / "openbell"), *arguments]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=log)
    try:
        yield process, manager
    finally:
        process.kill()
        process.wait(10)
        manager.close()


def heard(manager: socket.socket, wanted: str) -> list[str]:
    """Return the messages up to the first that starts with ``wanted``."""
    messages: list[str] = []
    while not messages or not messages[-1].startswith(wanted):
        messages.append(manager.recv(4096).decode())
    return messages


def test_the_units_command_tells_ready_lives_reloads_and_drains(tmp_path: Path) -> None:
    with service(tmp_path) as (process, manager):
        began = heard(manager, "READY=1")
        heard(manager, "WATCHDOG=1")
        status = heard(manager, "STATUS=")

        process.send_signal(signal.SIGHUP)
        heard(manager, "RELOADING=1")
        # What was accepted is taken up: who goes on editing ends nothing.
        (tmp_path / "config.toml").write_text("[half a line")
        heard(manager, "STATUS=reloading; keys: those of the start; for new ones")
        again = heard(manager, "READY=1")

        process.send_signal(signal.SIGTERM)
        heard(manager, "STOPPING=1")
        code = process.wait(60)

    assert not any(message.startswith("STOPPING") for message in began + again)
    assert "ACTIVE; next: " in status[-1]
    assert code == 0
    assert '"daemon.reloaded"' in (tmp_path / "log").read_text()


def test_n08_a_looser_limit_is_not_reloaded(tmp_path: Path) -> None:
    with service(tmp_path) as (process, manager):
        heard(manager, "READY=1")
        config = tmp_path / "config.toml"
        text = config.read_text()
        config.write_text(text.replace("max_drawdown_pct = 5.0 ", "max_drawdown_pct = 9.0 "))
        process.send_signal(signal.SIGHUP)
        while "reload.refused" not in (tmp_path / "log").read_text():
            assert process.poll() is None
            heard(manager, "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    assert "may only tighten risk" in (tmp_path / "log").read_text()
    assert "daemon.reloaded" not in (tmp_path / "log").read_text()


def test_a_configuration_that_is_refused_never_says_ready(tmp_path: Path) -> None:
    with service(tmp_path, OPENBELL__RISK__MAX_DRAWDOWN_PCT="nan") as (process, manager):
        assert process.wait(60) == 78
        manager.settimeout(0.2)
        with pytest.raises(TimeoutError):
            manager.recv(4096)
