"""The units as they are shipped, under a real systemd of our own: root and namespaces needed."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.private_systemd import PrivateSystemd, private_systemd, why_not
from tests.support.running import REPOSITORY

UNIT, KILL_UNIT = "openbell.service", "openbell-kill.service"
CONFIG = (REPOSITORY / "config.toml").read_text().replace("\nspeed = 0 ", "\nspeed = 600 ")
Boot = Callable[..., PrivateSystemd]

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def boot() -> Iterator[Boot]:
    with ExitStack() as stack:
        # Not in /dev/shm, where other tests are: RemoveIPC= sweeps it when the unit stops.
        folder = stack.enter_context(TemporaryDirectory(dir="/var/tmp", prefix="openbell-"))

        def make(config: str = CONFIG, drop_in: str = "") -> PrivateSystemd:
            return stack.enter_context(private_systemd(Path(folder) / "root", config, drop_in))

        yield make


def wait_for_log(systemd: PrivateSystemd, *texts: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not any(all(text in line for text in texts) for line in systemd.log.splitlines()):
        assert time.monotonic() < until, systemd.log[-3000:]
        time.sleep(0.1)


def test_the_unit_starts_when_reconciled_trades_in_its_sandbox_reloads_and_drains(
    boot: Boot,
) -> None:
    systemd = boot(drop_in="Environment=OPENBELL__CLOCK__START=2022-11-14T08:25:00-05:00\n")

    systemd.run("systemctl", "start", UNIT)

    # `start` returned at READY=1, and that means reconciled.
    assert '"reconcile.finished"' in systemd.log
    assert systemd.show(UNIT, "ActiveState") == "active"
    assert systemd.show(UNIT, "StatusText").startswith("ACTIVE; next: ")
    state = systemd.root / "var/lib/openbell"
    assert state.stat().st_mode & 0o777 == 0o700
    # Forecasts come from a child process with ONNX Runtime, and orders go over sockets.
    wait_for_log(systemd, '"kind": "submit"', '"state": "DONE"')
    assert systemd.show(UNIT, "WatchdogTimestampMonotonic") != "0"

    # What a person types is done as the service's user, with its state and keys.
    assert "reconciled at" in systemd.run("/run/openbell.sh", "status").stdout
    assert systemd.run("/run/openbell.sh", "doctor").returncode == 0
    assert "restored on trial" in systemd.run("/run/openbell.sh", "backup").stdout
    made = {path.stat().st_uid for path in (state / "backups").iterdir()}
    assert made == {(state / "KILL").stat().st_uid}

    systemd.run("systemctl", "reload", UNIT)
    wait_for_log(systemd, '"daemon.reloaded"')
    systemd.wait_for(UNIT, "ActiveState", "active")

    began = time.monotonic()
    systemd.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began < 60
    assert systemd.show(UNIT, "Result") == "success"
    assert systemd.show(UNIT, "NRestarts") == "0"
    assert "Traceback" not in systemd.log
    assert systemd.run("/run/openbell.sh", "reconcile").returncode == 0


def test_n07_new_keys_come_with_a_restart_and_a_reload_says_that_it_has_the_old(
    boot: Boot,
) -> None:
    systemd = boot()
    key = "APCA_API_SECRET_KEY"
    put = f"printf rotated | install -m 600 -o openbell /dev/stdin /etc/openbell/credentials/{key}"

    def held() -> str:
        return systemd.run("cat", f"/run/credentials/{UNIT}/{key}").stdout

    systemd.run("systemctl", "start", UNIT)
    before = held()
    systemd.run("sh", "-c", put)

    systemd.run("systemctl", "reload", UNIT)
    wait_for_log(systemd, '"daemon.reloaded"', "for new ones `systemctl restart openbell`")
    assert held() == before

    systemd.run("systemctl", "restart", UNIT)
    assert held() == "rotated" != before
    systemd.run("systemctl", "stop", UNIT)


def test_d09_a_daemon_that_cannot_come_back_is_followed_by_a_kill(boot: Boot) -> None:
    systemd = boot()
    crash = "mkdir -p /run/systemd/system/openbell.service.d && printf '%s\\n' '[Service]' "
    crash += "'ExecStart=' 'ExecStart=/bin/false' 'Type=simple' "
    crash += "> /run/systemd/system/openbell.service.d/zz-crash.conf && systemctl daemon-reload"
    systemd.run("sh", "-c", crash)

    systemd.run("systemctl", "start", UNIT, check=False)

    systemd.wait_for(UNIT, "ActiveState", "failed")
    assert systemd.show(UNIT, "NRestarts") == "5"
    latch = systemd.root / "var/lib/openbell/KILL"
    wait_for_log(systemd, "verified: yes")
    systemd.wait_for(KILL_UNIT, "ActiveState", "inactive")
    assert systemd.show(KILL_UNIT, "Result") == "success", systemd.log
    assert json.loads(latch.read_text().splitlines()[0])["reason"] == (
        "the daemon failed and did not come back"
    )


def test_a31_a_start_while_the_broker_is_away_waits_for_it_and_is_no_crash_loop(
    boot: Boot,
) -> None:
    # As after a power cut that took the router with it: five failures would latch the account.
    away = {
        "CLOCK__KIND": "system",
        "BROKER__KIND": "alpaca",
        "BROKER__ALPACA__TRADING_URL": "http://127.0.0.1:9",
        "BROKER__ALPACA__TRADE_STREAM_URL": "ws://127.0.0.1:9/stream",
    }
    lines = [f"Environment=OPENBELL__{name}={value}\n" for name, value in away.items()]
    systemd = boot(drop_in="".join([*lines, "TimeoutStartSec=12\n"]))
    systemd.run("systemctl", "start", "--no-block", UNIT)
    wait_for_log(systemd, '"daemon.waiting"')

    # Longer than the time limit of a start.
    time.sleep(14)

    assert systemd.show(UNIT, "ActiveState") == "activating", systemd.log
    assert systemd.show(UNIT, "StatusText").startswith("waiting for the broker: ")
    assert systemd.show(UNIT, "NRestarts") == "0"
    systemd.run("systemctl", "stop", UNIT)
    assert systemd.show(UNIT, "Result") == "success"
    assert systemd.show(KILL_UNIT, "ActiveState") == "inactive"


def test_a_configuration_that_is_refused_is_not_tried_again(boot: Boot) -> None:
    systemd = boot(CONFIG.replace("max_drawdown_pct", "max_drawdwon_pct"))

    started = systemd.run("systemctl", "start", UNIT, check=False)

    assert started.returncode != 0
    systemd.wait_for(UNIT, "ActiveState", "failed")
    assert systemd.show(UNIT, "ExecMainStatus") == "78"
    assert systemd.show(UNIT, "NRestarts") == "0"
    assert "did you mean `max_drawdown_pct`?" in systemd.log


def test_a_training_may_give_way_to_the_daemon_inside_the_sandbox(boot: Boot) -> None:
    code = "import os; os.setpriority(os.PRIO_PROCESS, 0, 10)"
    command = f"ExecStart={sys.executable} -c '{code}'"
    systemd = boot(drop_in=f"Type=oneshot\nExecStart=\n{command}\nRestart=no\n")

    assert systemd.run("systemctl", "start", UNIT, check=False).returncode == 0, systemd.log


@pytest.mark.slow
def test_d07_a_daemon_that_stands_still_is_killed_by_the_watchdog_and_comes_back(
    boot: Boot,
) -> None:
    systemd = boot(drop_in="WatchdogSec=10\nTimeoutAbortSec=2\n")
    systemd.run("systemctl", "start", UNIT)
    frozen = systemd.show(UNIT, "MainPID")

    systemd.run("kill", "-STOP", frozen)

    systemd.wait_for(UNIT, "NRestarts", "1")
    systemd.wait_for(UNIT, "ActiveState", "active")
    assert systemd.show(UNIT, "MainPID") != frozen
    systemd.run("systemctl", "stop", UNIT)
