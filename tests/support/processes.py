"""Real openbell processes against a real `openbell paper-server` process, over sockets."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx

from state.reader import Reader

REPOSITORY = Path(__file__).parents[2]
KEYS = {
    "APCA_API_KEY_ID": "PKEMBEDDED",
    "APCA_API_SECRET_KEY": "embedded-broker-on-loopback",
}
SYMBOLS = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
PATIENCE_SECONDS = 60.0
IMPATIENT = "connect_timeout_seconds = 1\nread_timeout_seconds = 1.5\ntotal_timeout_seconds = 2\n"

Answer = TypeVar("Answer")


def environment(**extra: str) -> dict[str, str]:
    """Return ours without any openbell setting, plus the paper keys."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OPENBELL")}
    kept.pop("CREDENTIALS_DIRECTORY", None)
    return {**kept, **KEYS, "PYTHONPATH": str(REPOSITORY), **extra}


def wait_for(
    what: str, look: Callable[[], Answer | None], *, seconds: float = PATIENCE_SECONDS
) -> Answer:
    """Look until there is an answer."""
    until = time.monotonic() + seconds
    while not (answer := look()):
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)
    return answer


class Process:
    """A running `openbell` command; its output lies in a file."""

    def __init__(self, arguments: list[str], *, cwd: Path, log: Path, environ: Mapping[str, str]):
        self.log = log
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "daemon", *arguments],
                cwd=cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def events(self) -> list[dict[str, Any]]:
        """Return the log lines that are events."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict) and "event" in document:
                    found.append(document)
        return found

    def wait_event(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Wait until the log has an event for the n-th time; fields narrow it."""

        def look() -> dict[str, Any] | None:
            found = [
                event
                for event in self.events()
                if event["event"] == name and fields.items() <= event.items()
            ]
            if len(found) >= count:
                return found[count - 1]
            if self.child.poll() is not None:
                raise AssertionError(
                    f"ended {self.child.returncode} before {name}:\n{self.log.read_text()}"
                )
            return None

        try:
            return wait_for(name, look)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.log.read_text()[-4000:]}") from None

    def stop(self) -> None:
        """SIGSTOP: hung, but alive."""
        os.killpg(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.killpg(self.child.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, with everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def terminate(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """SIGTERM; return the exit status."""
        self.child.terminate()
        return self.child.wait(timeout=seconds)

    def wait(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Return the exit status."""
        return self.child.wait(timeout=seconds)


class World:
    """A paper server, and a home for daemons that trade against it.

    ``start`` is the replayed moment at which the server begins, New York time; ``speed``
    the simulated seconds in a real one.
    """

    def __init__(
        self,
        home: Path,
        *,
        start: str = "2022-11-14T09:22:00",
        speed: float = 60,
        faults: tuple[str, ...] = (),
        config: str = "",
    ) -> None:
        self.home = home
        self.state = home / "var"
        self.speed = speed
        self._config = config
        self._processes: list[Process] = []
        (home / "server.toml").write_text(
            f"[universe]\nsymbols = {json.dumps(SYMBOLS)}\n"
            f'[clock]\nkind = "replay"\nstart = "{start}-05:00"\nspeed = {speed}\n'
            f"[broker.embedded]\nfaults = {json.dumps(faults)}\n"
            f'[state]\ndirectory = "{home / "server"}"\n'
        )

    def open(self) -> None:
        """Start the server and write the daemon's configuration."""
        self.server = self._spawn("server.toml", ["--json", "paper-server", "--port", "0"])
        self.urls = wait_for("the paper server", self._announced)
        self.control = httpx.Client(
            base_url=self.urls["trading_url"], trust_env=False, timeout=10, headers=_headers()
        )
        self.write_config()

    def _announced(self) -> dict[str, str] | None:
        with contextlib.suppress(ValueError):
            document: dict[str, str] = json.loads(self.server.log.read_text())
            return document
        if self.server.child.poll() is not None:
            raise AssertionError(self.server.log.read_text())
        return None

    def write_config(self, more: str = "") -> None:
        """Write the daemon's configuration; ``more`` is appended."""
        (self.home / "config.toml").write_text(
            f"[universe]\nsymbols = {json.dumps(SYMBOLS)}\n"
            f'[clock]\nkind = "replay"\nstart = "broker"\nspeed = {self.speed}\n'
            f'[broker]\nkind = "alpaca"\n[broker.alpaca]\n'
            f'trading_url = "{self.urls["trading_url"]}"\n'
            f'trade_stream_url = "{self.urls["trade_stream_url"]}"\n'
            "[strategies.forecast]\nenabled = true\ncapital_fraction = 0.7\n"
            "[strategies.momentum]\nenabled = true\ncapital_fraction = 0.3\n"
            f'[state]\ndirectory = "var"\n{self._config}{more}'
        )

    def _spawn(self, config: str, arguments: list[str], **environ: str) -> Process:
        log = self.home / f"{len(self._processes)}.log"
        process = Process(
            ["--config", config, *arguments],
            cwd=self.home,
            log=log,
            environ=environment(**environ),
        )
        self._processes.append(process)
        return process

    def daemon(self, *arguments: str, **environ: str) -> Process:
        """Start `openbell run`."""
        return self._spawn("config.toml", ["run", *arguments], **environ)

    def spawn(self, *arguments: str, **environ: str) -> Process:
        """Start any command and do not wait for it."""
        return self._spawn("config.toml", list(arguments), **environ)

    def openbell(
        self, *arguments: str, seconds: float = PATIENCE_SECONDS, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "daemon", *arguments],
            cwd=self.home,
            env=environment(**environ),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def python(self, program: str) -> subprocess.CompletedProcess[str]:
        """Run a program of ours in the daemon's place."""
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.home,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def be_impatient(self) -> None:
        """Let the daemon give a hanging answer up before the test gets slow; real seconds."""
        path = self.home / "config.toml"
        path.write_text(
            path.read_text().replace("[broker.alpaca]\n", f"[broker.alpaca]\n{IMPATIENT}")
        )

    def move_state(self, directory: Path) -> None:
        """Let the daemon keep its state elsewhere."""
        path = self.home / "config.toml"
        path.write_text(path.read_text().replace('directory = "var"', f'directory = "{directory}"'))
        self.state = directory

    def read(self, *arguments: str) -> Any:
        """Run a reading command and return its document."""
        done = self.openbell("--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def order_up(self, name: str, **fields: Any) -> dict[str, Any]:
        """Post to the server's control endpoints."""
        reply = self.control.post(f"/_openbell/{name}", json=fields)
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    def arm(self, *faults: str) -> None:
        """Arm faults at the server."""
        self.order_up("faults", faults=list(faults))

    def truth(self) -> dict[str, Any]:
        """What the exchange holds."""
        answer: dict[str, Any] = self.control.get("/_openbell/truth").json()
        return answer

    def posts(self) -> list[dict[str, Any]]:
        """Every order request that reached the server."""
        rows = self.control.get("/_openbell/log", params={"method": "POST"}).json()
        return [
            {
                **row,
                "client_order_id": json.loads(row["body"] or "{}").get("client_order_id"),
                "is_taken": row["handled"] in (200, 201),
            }
            for row in rows
            if row["path"] == "/v2/orders"
        ]

    def requests(self, method: str) -> list[dict[str, Any]]:
        """Every request of a method that reached the server."""
        rows: list[dict[str, Any]] = self.control.get(
            "/_openbell/log", params={"method": method}
        ).json()
        return rows

    def working(self) -> list[str]:
        """Ids of the orders that can still fill."""
        closed = {"filled", "canceled", "expired", "rejected", "replaced", "done_for_day"}
        return sorted(
            order_id
            for order_id, order in self.truth()["orders"].items()
            if order["status"] not in closed
        )

    def reader(self) -> Reader:
        """Open the daemon's books for reading."""
        return Reader(self.state)

    def doubts(self) -> list[str]:
        """Ids of our orders without a clear answer."""
        with self.reader() as reader:
            return [
                order["client_order_id"]
                for order in reader.orders()
                if order["state"] in {"approved", "sending", "unknown"}
            ]

    def booked(self, client_order_id: str) -> bool:
        """Tell whether the books have an execution of an order."""
        with self.reader() as reader:
            return any(fill["client_order_id"] == client_order_id for fill in reader.fills())

    def wait_until_filled(self, orders: int) -> None:
        """Wait until so many orders are filled at the exchange."""

        def look() -> bool:
            states = [order["status"] for order in self.truth()["orders"].values()]
            return states.count("filled") >= orders

        wait_for(f"{orders} filled orders", look)

    def violations(self) -> list[str]:
        """Name every way in which the books and the exchange disagree, or an order doubled."""
        truth = self.truth()
        with self.reader() as reader:
            booked = reader.fills()
            held = {row["symbol"]: Decimal(row["quantity"]) for row in reader.positions()}
        theirs = sorted(_execution(one) for one in truth["executions"])
        ours = sorted(_execution(one) for one in booked)
        found = []
        if ours != theirs:
            only_ours, only_theirs = _less(ours, theirs), _less(theirs, ours)
            found.append(f"executions: only ours {only_ours}, only theirs {only_theirs}")
        if len({fill["execution_id"] for fill in booked}) != len(booked):
            found.append("an execution is booked twice")
        at_broker = {symbol: Decimal(text) for symbol, text in truth["positions"].items()}
        at_broker = {symbol: quantity for symbol, quantity in at_broker.items() if quantity}
        if held != at_broker:
            found.append(f"positions: ours {held}, theirs {at_broker}")
        taken = Counter(post["client_order_id"] for post in self.posts() if post["is_taken"])
        found += [f"{order_id} was taken {n} times" for order_id, n in taken.items() if n > 1]
        return found

    def wait_for_agreement(self) -> None:
        """Wait until the books show what the exchange holds, and nothing else."""
        last: list[str] = []

        def look() -> bool:
            last[:] = self.violations()
            return not last

        try:
            wait_for("books and exchange to agree", look, seconds=30)
        except AssertionError as exc:
            raise AssertionError(f"{exc}: {last}") from None

    def close(self) -> None:
        """End everything."""
        if hasattr(self, "control"):
            self.control.close()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.thaw()
            process.kill()


def _execution(row: Mapping[str, Any]) -> tuple[str, Decimal, Decimal]:
    return str(row["client_order_id"]), Decimal(row["quantity"]), Decimal(row["price"])


def _less(these: list[Any], those: list[Any]) -> list[Any]:
    return sorted((Counter(these) - Counter(those)).elements())


def _headers() -> dict[str, str]:
    return {
        "APCA-API-KEY-ID": KEYS["APCA_API_KEY_ID"],
        "APCA-API-SECRET-KEY": KEYS["APCA_API_SECRET_KEY"],
    }


@contextlib.contextmanager
def world(home: Path, **options: Any) -> Iterator[World]:
    """Open a world and end it."""
    made = World(home, **options)
    try:
        made.open()
        yield made
    finally:
        made.close()
