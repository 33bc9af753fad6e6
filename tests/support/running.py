"""A daemon of this checkout, run as users run it: a process, configured by its environment."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
TOKEN = "a-token-for-tests-only-0123"


def free_port() -> int:
    """Return a TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """One daemon process and its page."""

    def __init__(self, process: subprocess.Popen[str], port: int, directory: Path) -> None:
        self.process = process
        self.port = port
        self.state = directory / "state"
        self._log = directory / "log"

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        return self._log.read_text()

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> tuple[int, str]:
        """Make one request; underscores in header names become dashes."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=body,
            method=method,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, path: str) -> Any:
        """Return the document of a listing."""
        status, text = self.ask(path)
        assert status == 200, text
        return json.loads(text)

    def control(self, verb: str, reason: str = "test", token: str = TOKEN) -> tuple[int, str]:
        """Press one of the two buttons."""
        return self.ask(
            f"/api/v1/{verb}",
            method="POST",
            body=json.dumps({"reason": reason}).encode(),
            Content_Type="application/json",
            Authorization=f"Bearer {token}",
        )

    def wait_for(self, text: str, *, seconds: float = 60) -> None:
        """Wait until the log holds a text."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert self.process.poll() is None, self.log[-2000:]
            assert time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 60) -> int:
        """Send a signal and wait for the end; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def openbell_json(running: Running, *arguments: str) -> Any:
    """Return what a command prints with ``--json`` beside a running daemon."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--json", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OPENBELL__STATE__DIRECTORY": str(running.state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


@contextlib.contextmanager
def running_daemon(
    directory: Path, *arguments: str, speed: float = 600, **environ: str
) -> Iterator[Running]:
    """Run the daemon on the embedded default until the block ends."""
    port = free_port()
    log = directory / "log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OPENBELL")}
    environment = {
        **inherited,
        "PYTHONPATH": str(REPOSITORY),
        "OPENBELL__STATE__DIRECTORY": str(directory / "state"),
        "OPENBELL__HTTP__ENABLED": "true",
        "OPENBELL__HTTP__PORT": str(port),
        "OPENBELL__CLOCK__SPEED": str(speed),
        "OPENBELL_HTTP_TOKEN": TOKEN,
        **environ,
    }
    command = [
        sys.executable,
        "-m",
        "daemon",
        "--config",
        str(REPOSITORY / "config.toml"),
        *(arguments or ("run",)),
    ]
    with log.open("w") as sink:
        process = subprocess.Popen(command, cwd=directory, env=environment, stderr=sink, text=True)
    try:
        yield Running(process, port, directory)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
