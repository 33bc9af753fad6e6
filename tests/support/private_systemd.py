"""A real systemd as the first process of its own PID and mount namespace, for root only.

Nothing of the machine is touched: ``/etc`` is a copy, ``/run``, ``/var/lib`` and ``/var/log``
are its own, and of the units only ours are started.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.commands.init import rendered
from tests.support.running import REPOSITORY

SYSTEMD = Path("/lib/systemd/systemd")
_PRIVATE = ("/var/lib", "/var/log", "/var/cache")
_BOOT = """set -e
mount --make-rprivate /
mkdir -p {root}/etc
cp -a /etc/. {root}/etc/
mount --bind {root}/etc /etc
for place in {private}; do
    mkdir -p {root}$place $place
    mount --bind {root}$place $place
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /etc/openbell/credentials
cp {root}/units/*.service {root}/units/*.target /run/systemd/system/
for unit in {root}/units/*.service; do
    mkdir -p /run/systemd/system/$(basename $unit).d
    cp {root}/units/test.conf /run/systemd/system/$(basename $unit).d/
done
cp {root}/config.toml /etc/openbell/config.toml
chmod 644 /etc/openbell/config.toml
printf PKEMBEDDED > /etc/openbell/credentials/APCA_API_KEY_ID
printf embedded-broker-on-loopback > /etc/openbell/credentials/APCA_API_SECRET_KEY
chmod -R go= /etc/openbell/credentials
mount -t proc proc /proc
# Credentials reach a unit by propagation.
mount --make-rshared /
systemd-sysusers {root}/units/openbell.sysusers.conf
chown -R openbell /etc/openbell/credentials
# A Python in root's home is for root alone; commands by hand need one for everybody.
mkdir -p /run/python
mount --bind {base} /run/python
mount -t tmpfs -o mode=755 tmpfs /root
mkdir -p {base}
mount --bind /run/python {base}
install -m 755 {root}/units/openbell.sh /run/openbell.sh
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
container=openbell exec {systemd} --system --unit=quiet.target --log-target=console --show-status=0
"""
_QUIET = "[Unit]\nDescription=Nothing\nDefaultDependencies=no\n"
# What the rest of a machine would bring, and patience that fits a test.
_DROP_IN = """[Unit]
DefaultDependencies=no
[Service]
StandardOutput=append:/var/log/openbell.log
StandardError=append:/var/log/openbell.log
RestartSec=100ms
"""


class PrivateSystemd:
    """The running manager, and commands inside of it."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self._pid = pid

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in its namespaces."""
        done = subprocess.run(
            [str(shutil.which("nsenter")), "-t", str(self._pid), "-m", "-p", "-i", "--", *command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.log[-3000:]}"
        return done

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def wait_for(self, unit: str, name: str, wanted: str, *, seconds: float = 60) -> None:
        """Wait until a property has a value."""
        until = time.monotonic() + seconds
        while (found := self.show(unit, name)) != wanted:
            assert time.monotonic() < until, f"{unit} {name}={found}\n{self.log[-3000:]}"
            time.sleep(0.1)

    @property
    def log(self) -> str:
        """What the units wrote."""
        path = self.root / "var/log/openbell.log"
        return path.read_text() if path.exists() else ""


@contextlib.contextmanager
def private_systemd(root: Path, config: str, drop_in: str = "") -> Iterator[PrivateSystemd]:
    """Boot one, with our units rendered for this environment; skip where that cannot be."""
    units = root / "units"
    units.mkdir(parents=True)
    for unit in (REPOSITORY / "systemd").iterdir():
        (units / unit.name).write_text(rendered(unit.read_text(), prefix=Path(sys.prefix)))
    (units / "quiet.target").write_text(_QUIET)
    for name in ("network-online.target", "time-sync.target"):
        (units / name).write_text(_QUIET)
    (units / "test.conf").write_text(_DROP_IN + drop_in)
    (root / "config.toml").write_text(config)
    script = _BOOT.format(
        root=root, private=" ".join(_PRIVATE), systemd=SYSTEMD, base=sys.base_prefix
    )
    with (root / "boot.log").open("w") as log:
        outer = subprocess.Popen(
            [
                str(shutil.which("unshare")),
                "--pid",
                "--mount",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                script,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        manager = PrivateSystemd(root, _first_child(outer, root / "boot.log"))
        _wait_until_it_listens(manager, outer)
        yield manager
    finally:
        outer.kill()
        outer.wait(10)


def _first_child(outer: "subprocess.Popen[bytes]", log: Path) -> int:
    until = time.monotonic() + 10
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(children.read_text().split()[0])
        if outer.poll() is not None:
            pytest.skip(f"no private systemd here: {log.read_text()[-300:].strip()}")
        time.sleep(0.05)
    pytest.skip("no private systemd here: it did not start")


def _wait_until_it_listens(manager: PrivateSystemd, outer: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and outer.poll() is None:
        done = manager.run("systemctl", "is-system-running", check=False)
        if done.stdout.strip() in {"running", "degraded", "starting"}:
            return
        time.sleep(0.1)
    pytest.skip(f"no private systemd here: {(manager.root / 'boot.log').read_text()[-300:]}")


def why_not() -> str | None:
    """Tell why there can be no private systemd on this machine."""
    if os.geteuid() != 0:
        return "a private systemd needs root"
    if not SYSTEMD.exists() or not all(map(shutil.which, ("unshare", "nsenter", "systemctl"))):
        return "systemd, unshare or nsenter is not installed"
    if any(REPOSITORY.is_relative_to(place) for place in ("/tmp", "/var/tmp", "/dev/shm")):  # noqa: S108
        return "PrivateTmp= hides this checkout"
    return None
