"""Hub, signs of life, alerts, reload and the archive, each alone."""

import asyncio
import contextlib
import datetime as dt
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.archive import archive_books
from daemon.config import load
from daemon.health.service import Notifier
from daemon.reload import keys_told, tightened
from daemon.telemetry.hub import URGENT, Hub, Notice
from daemon.telemetry.messages import TelemetryReader
from daemon.telemetry.telling import Telling
from daemon.telemetry.vitals import Vitals
from domain.clock import ManualClock, SystemClock
from domain.errors import ConfigError
from domain.ids import Symbol
from execution.desk import Desk
from execution.reconcile import Reconciler
from state import reader
from state.facts import Facts
from state.journal import Journal
from state.json_rows import order_row
from tests.support.running import REPOSITORY
from tests.support.state_builders import SESSION, approved, open_store
from tests.support.virtual_time import loop_clock, virtual

NOW = dt.datetime(2026, 11, 21, 14, 30, tzinfo=dt.UTC)
CONFIG = load(REPOSITORY / "config.toml", {})


# What leaves over MQTT


def test_of_the_orders_of_years_only_those_of_the_session_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    journal = Journal(store)
    for number in range(3):
        date = SESSION - dt.timedelta(days=number)
        journal.record_plan([approved(f"ob-{number}", session_date=date)], "run")
    Facts(store).put(session_date=SESSION.isoformat())
    store.close()
    read: list[str] = []

    def counted(row: Any) -> Any:
        read.append(row["client_order_id"])
        return order_row(row)

    monkeypatch.setattr(reader, "order_row", counted)

    told = TelemetryReader(tmp_path, account_tail="1234").everything()

    assert [order["client_order_id"] for order in told["orders"]] == read == ["ob-0"]


# Hub


def test_a_listener_that_fails_disturbs_neither_the_others_nor_the_caller() -> None:
    hub, heard = Hub(ManualClock(NOW)), []

    def broken(notice: Notice) -> None:
        raise RuntimeError("no")

    hub.listen(broken)
    hub.listen(lambda notice: heard.append(notice.kind))
    hub.alert("order.unknown", "AAPL", Symbol("AAPL"))

    assert heard == ["order.unknown"]


async def test_whoever_shows_the_state_is_woken_by_a_change_and_not_before() -> None:
    hub = Hub(ManualClock(NOW))
    with hub.waker() as waker:
        assert not waker.is_set()
        hub.changed()
        assert waker.is_set()
    hub.changed()


def test_a_daemon_that_tells_nobody_imports_nothing_to_tell_with() -> None:
    code = (
        "import sys, daemon.app; heavy = {'aiomqtt', 'apprise', 'fastapi', 'prometheus_client'};"
        " sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


# Signs of life


def test_a_daemon_that_moves_has_no_problems() -> None:
    vitals = Vitals()
    vitals.look_began()
    vitals.look_finished(is_answered=False)

    assert vitals.problems() == ()
    assert vitals.failed_looks == 1


@pytest.mark.parametrize("lag", [1.5, float("nan")])
def test_a_loop_that_is_late_is_no_sign_of_life(lag: float) -> None:
    vitals = Vitals()
    vitals.beaten(lag)

    assert "event loop" in vitals.problems()[0]


def test_a_database_that_takes_no_write_is_no_sign_of_life() -> None:
    vitals = Vitals(wrote=time.perf_counter() - 31)

    assert "database" in vitals.problems()[0]


def test_a_watch_that_hangs_is_no_sign_of_life_and_none_is_asked_outside_the_session() -> None:
    vitals = Vitals()
    vitals.look_began()
    vitals.looked = time.perf_counter() - 181
    assert "look at the broker" in vitals.problems()[0]

    vitals.watch_ended()
    assert vitals.problems() == ()


# The service manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(str(tmp_path / "notify"))
        wire.setblocking(False)
        yield wire


def told(manager: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096).decode())
    return found


def test_a_daemon_that_is_not_alive_does_not_feed_the_watchdog(
    manager: socket.socket, tmp_path: Path
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"})

    notifier.beat(is_alive=False, is_ready=True, status="ACTIVE")
    assert told(manager) == ["READY=1", "STATUS=ACTIVE"]
    notifier.beat(is_alive=True, is_ready=True, status="ACTIVE")
    notifier.beat(is_alive=True, is_ready=True, status="ACTIVE")
    assert told(manager) == ["WATCHDOG=1"]


def test_without_a_service_manager_nothing_is_sent_and_nothing_fails() -> None:
    notifier = Notifier({})

    notifier.beat(is_alive=True, is_ready=True, status="ACTIVE")
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).stopping()
    assert not notifier.is_on


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}

    assert Notifier(environ).watchdog_seconds is None


# Reload


def with_risk(**changes: Any) -> Any:
    return replace(CONFIG, risk=replace(CONFIG.risk, **changes))


def test_n08_a_reload_may_tighten_limits() -> None:
    wanted = with_risk(max_drawdown_pct=Decimal(4), min_confidence=0.7, earnings_sessions_ahead=3)

    config, changes = tightened(CONFIG, wanted)

    assert config.risk.max_drawdown_pct == 4
    assert changes == (
        "min_confidence: 0.6 to 0.7",
        "max_drawdown_pct: 5.0 to 4",
        "earnings_sessions_ahead: 1 to 3",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"max_drawdown_pct": Decimal(6)},
        {"min_confidence": 0.55},
        {"cash_reserve_pct": Decimal(1)},
        {"allow_short": True},
        {"require_known_volume": False},
        {"covariance_sessions": 60},
        {"earnings_sessions_ahead": 0},
        {"order_error_window_seconds": 10},
    ],
)
def test_n08_a_reload_may_loosen_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="may only tighten"):
        tightened(CONFIG, with_risk(**changes))


@pytest.mark.parametrize(
    ("after", "environ", "told"),
    [
        (["old"], {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}, "systemctl restart openbell"),
        (["old"], {}, "those of the start; for new ones restart"),
        (["new"], {"CREDENTIALS_DIRECTORY": "/run/secrets"}, "changed"),
    ],
)
def test_n07_a_reload_says_which_keys_it_has(
    after: list[str], environ: dict[str, str], told: str
) -> None:
    assert told in keys_told(["old"], after, environ)


def test_n08_a_reload_changes_nothing_but_risk() -> None:
    with pytest.raises(ConfigError, match="mode, http: a reload"):
        tightened(CONFIG, replace(CONFIG, mode="live2", http=replace(CONFIG.http, port=9)))


# The archive of finished replays


def test_finished_books_are_put_away_and_the_latch_stays(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "openbell.db").write_text(str(number))
        (tmp_path / "paper").mkdir()
        (tmp_path / "KILL").write_text("latch")
        assert archive_books(tmp_path) == tmp_path / "archive" / str(number + 1)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["KILL", "archive"]
    kept = sorted(int(path.name) for path in (tmp_path / "archive").iterdir())
    assert kept == list(range(3, 13))
    assert (tmp_path / "archive" / "12" / "openbell.db").read_text() == "11"


# Alerts to people

# Apprise tries a module of the standard library that is going away, and does without it.
quiet_apprise = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")


class _Sink(http.server.BaseHTTPRequestHandler):
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def sink() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler: Any = type("Sink", (_Sink,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_address[1]}/", handler.seen
    server.shutdown()
    thread.join()
    server.server_close()


async def arrived(seen: list[dict[str, Any]], count: int) -> None:
    async with asyncio.timeout(20):
        while len(seen) < count:  # noqa: ASYNC110 - it arrives in another thread
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def sending(url: str, hub: Hub) -> Any:
    from daemon.telemetry.alerts import AlertSender

    sender = AlertSender([url], hub=hub, clock=SystemClock(), time_scale=1, meters=None)
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()


@quiet_apprise
async def test_a_halt_reaches_people_within_five_seconds(sink: Any) -> None:
    url, seen = sink
    hub = Hub(SystemClock())
    async with sending(url, hub):
        began = time.monotonic()
        hub.alert("kill.engaged", "drawdown 5.1 %")
        await arrived(seen, 1)

    assert time.monotonic() - began < 5
    assert "kill.engaged" in seen[0]["title"]
    assert "drawdown 5.1 %" in seen[0]["message"]


@quiet_apprise
async def test_a_kill_that_could_not_verify_reaches_people_each_time(sink: Any) -> None:
    url, seen = sink
    hub = Hub(SystemClock())
    async with sending(url, hub):
        hub.alert("kill.unfinished", "2 orders are still open")
        hub.alert("kill.unfinished", "1 order is still open")
        await arrived(seen, 1)

    told = str(seen)
    assert "2 orders are still open" in told
    assert "1 order is still open" in told


def test_what_is_told_each_time_is_told_at_all() -> None:
    from daemon.telemetry.alerts import _ALWAYS

    assert _ALWAYS <= URGENT


@virtual
async def test_telling_that_breaks_off_is_told_and_begun_again() -> None:
    clock = loop_clock()
    telling = Telling(CONFIG, clock=clock, time_scale=1, notifier=Notifier({}))
    told: list[str] = []
    telling.hub.listen(lambda notice: told.append(f"{notice.kind}: {notice.text}"))
    begun = 0

    async def breaks_once() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise KeyError("topic")
        await asyncio.Event().wait()

    async with telling._in_background([breaks_once]):
        await clock.sleep(60)

    assert begun == 2
    assert len(told) == 1
    assert "breaks_once: KeyError('topic'); it is begun again" in told[0]
    assert told[0].startswith("telemetry.failed")


async def test_a_daemon_that_nobody_listens_to_is_not_told_dead_by_an_earlier_heartbeat(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    Facts(store).put(heartbeat_at="2022-12-14T13:00:00+00:00")
    alone = replace(CONFIG, http=replace(CONFIG.http, enabled=False))
    telling = Telling(alone, clock=SystemClock(), time_scale=1, notifier=Notifier({}))

    async with telling.open(cast("Desk", SimpleNamespace(store=store)), cast("Reconciler", None)):
        with reader.Reader(tmp_path) as now:
            assert now.status()["heartbeat_at"] is None


@quiet_apprise
async def test_repeats_are_held_back_and_counted_and_trifles_are_not_told(sink: Any) -> None:
    url, seen = sink
    clock = ManualClock(NOW)
    hub = Hub(clock)
    async with sending(url, hub):
        for _ in range(100):
            hub.alert("symbol.locked", "AAPL differs", Symbol("AAPL"))
            hub.alert("order.cancel_requested", "a trifle")
        await arrived(seen, 1)
        clock.advance(dt.timedelta(minutes=16))
        hub.alert("symbol.locked", "AAPL differs", Symbol("AAPL"))
        hub.alert("symbol.locked", "MSFT differs", Symbol("MSFT"))
        await arrived(seen, 2)

    assert seen[0]["message"].count("symbol.locked") == 1
    assert "99 repeats were held back" in seen[0]["message"]
    assert "trifle" not in str(seen)
    assert "MSFT differs" in str(seen[1:])


@quiet_apprise
async def test_a_clock_that_was_put_back_holds_no_alert_back(sink: Any) -> None:
    url, seen = sink
    clock = ManualClock(NOW)
    hub = Hub(clock)
    async with sending(url, hub):
        hub.alert("run.failed", "eod: the disk is full")
        await arrived(seen, 1)
        clock.advance(dt.timedelta(hours=-1))
        hub.alert("run.failed", "premarket: no bars")
        await arrived(seen, 2)

    assert "no bars" in seen[1]["message"]


@quiet_apprise
def test_an_alert_target_that_is_none_refuses_the_start_without_telling_it() -> None:
    from daemon.telemetry.alerts import AlertSender

    with pytest.raises(ConfigError, match="target 1 is not in a form") as caught:
        AlertSender(
            ["secret-token-no-scheme"],
            hub=Hub(ManualClock(NOW)),
            clock=ManualClock(NOW),
            time_scale=1,
            meters=None,
        )
    assert "secret" not in str(caught.value)
