"""Recorded sessions, one after another: at the end of the recording everything begins anew."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.command_line import Options
from daemon.commands import run
from daemon.config import Config
from daemon.health.service import Notifier
from daemon.lifecycle import Ending
from domain.errors import BrokerUnavailable
from tests.support.running import REPOSITORY, running_daemon
from tests.unit.daemon.test_command_line import openbell

ARMED = SimpleNamespace(is_engaged=False)


def test_at_the_end_of_the_recording_it_says_so_and_begins_with_a_fresh_account(
    tmp_path: Path,
) -> None:
    last_afternoon = "2023-09-21T15:50:00-04:00"
    with running_daemon(tmp_path, "run", speed=0, OPENBELL__CLOCK__START=last_afternoon) as one:
        one.wait_for("recording.ended", seconds=120)
        after = len(one.log)
        while "reconcile.finished" not in one.log[after:]:
            one.wait_for("daemon.started")

        archived = one.state / "archive" / "1"
        assert (archived / "openbell.db").is_file()
        assert (archived / "reports" / "2023-09-21" / "report.html").is_file()
        # The page is served again, on the same port, from the new books.
        assert one.json("/api/v1/status")["equity"] in {None, "100000"}


def test_a_killed_replay_does_not_begin_anew(tmp_path: Path) -> None:
    with running_daemon(
        tmp_path, "run", speed=0, OPENBELL__CLOCK__START="2023-09-21T15:30:00-04:00"
    ) as one:
        one.wait_for("dashboard.serving")
        while one.control("kill", "drill")[0] != 202:
            one.wait_for("dashboard.serving")

        assert one.process.wait(120) == 78
        assert "the recording has ended and the kill latch is engaged" in one.log
        assert not (one.state / "archive").exists()


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("clock.start", {"OPENBELL__CLOCK__START": "2023-09-21T17:00:00-04:00"}),
        ("clock.start = 'broker'", {"OPENBELL__CLOCK__START": "broker"}),
        ("clock.kind", {"OPENBELL__CLOCK__KIND": "system"}),
    ],
)
def test_a_replay_without_a_session_is_refused_instead_of_begun_anew_without_end(
    tmp_path: Path, name: str, environ: dict[str, str]
) -> None:
    done = openbell(
        "run",
        cwd=REPOSITORY,
        OPENBELL__STATE__DIRECTORY=str(tmp_path / "var"),
        **environ,
    )

    assert done.returncode == 78
    assert done.stderr.startswith(f"openbell: {name}")
    assert "such as '2022-11-14T07:00:00-05:00', or" not in done.stderr
    assert not (tmp_path / "var").exists()


def configured(tmp_path: Path) -> Path:
    config = tmp_path / "config.toml"
    text = (REPOSITORY / "config.toml").read_text(encoding="utf-8")
    config.write_text(
        text.replace('directory = "var"', f'directory = "{tmp_path}"'), encoding="utf-8"
    )
    return config


@pytest.mark.parametrize("ending", [Ending.RECORDING_ENDED, Ending.RESTART])
def test_a_stop_in_the_last_moment_of_a_life_is_no_reason_to_begin_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    lives = 0

    async def life(*_: object, stop: asyncio.Event, **__: object) -> Ending:
        nonlocal lives
        lives += 1
        if lives == 1:
            stop.set()
            return ending
        return Ending.STOPPED

    monkeypatch.setattr(run, "run_daemon", life)

    run.run(Options(config=configured(tmp_path), json=False), sessions=None, is_waiting=False)

    assert lives == 1
    assert not (tmp_path / "archive").exists()


def test_a_reload_in_the_last_moment_of_a_life_holds_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    orders: list[int] = []

    async def life(using: Config, *_: object, stop: asyncio.Event, **__: object) -> Ending:
        orders.append(using.risk.max_orders_per_day)
        if len(orders) > 1:
            return Ending.STOPPED
        text = config.read_text(encoding="utf-8")
        config.write_text(
            text.replace("max_orders_per_day = 50", "max_orders_per_day = 7"), encoding="utf-8"
        )
        os.kill(os.getpid(), signal.SIGHUP)
        await stop.wait()
        return Ending.RESTART

    monkeypatch.setattr(run, "run_daemon", life)

    run.run(Options(config=config, json=False), sessions=None, is_waiting=False)

    assert orders == [50, 7]


def test_a_second_reload_while_the_first_ends_a_life_holds_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    orders: list[int] = []

    async def life(using: Config, *_: object, stop: asyncio.Event, **__: object) -> Ending:
        orders.append(using.risk.max_orders_per_day)
        if len(orders) > 1:
            return Ending.STOPPED
        for before, after in ((50, 7), (7, 5)):
            text = config.read_text(encoding="utf-8")
            config.write_text(
                text.replace(f"max_orders_per_day = {before}", f"max_orders_per_day = {after}"),
                encoding="utf-8",
            )
            os.kill(os.getpid(), signal.SIGHUP)
            await stop.wait()
            await asyncio.sleep(0.05)
        return Ending.STOPPED

    monkeypatch.setattr(run, "run_daemon", life)

    run.run(Options(config=config, json=False), sessions=None, is_waiting=False)

    assert orders == [50, 5]


def test_a_signal_between_two_lives_does_not_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A service manager takes the end by a hang-up for a clean one, and does not start it again.
    between: list[object] = []
    lives = 0

    async def life(*_: object, **__: object) -> Ending:
        nonlocal lives
        lives += 1
        return Ending.RECORDING_ENDED if lives == 1 else Ending.STOPPED

    def archive(_: Path) -> Path:
        between.extend(map(signal.getsignal, (signal.SIGHUP, signal.SIGTERM)))
        return tmp_path

    monkeypatch.setattr(run, "run_daemon", life)
    monkeypatch.setattr(run, "archive_books", archive)
    monkeypatch.setattr(run, "Latch", lambda _: SimpleNamespace(read=lambda: ARMED))

    run.run(Options(config=configured(tmp_path), json=False), sessions=None, is_waiting=False)

    assert lives == 2
    assert signal.SIG_DFL not in between


class Outage:
    """A life that is reloaded while the broker is away, and those after it."""

    def __init__(self, config: Path, *, then: Callable[[], None]) -> None:
        self.orders: list[int] = []
        self._config = config
        self._then = then

    async def life(self, using: Config, *_: object, stop: asyncio.Event, **__: object) -> Ending:
        self.orders.append(using.risk.max_orders_per_day)
        if len(self.orders) == 1:
            text = self._config.read_text(encoding="utf-8")
            text = text.replace("max_orders_per_day = 50", "max_orders_per_day = 7")
            self._config.write_text(text, encoding="utf-8")
            os.kill(os.getpid(), signal.SIGHUP)
            await stop.wait()
        elif len(self.orders) <= 3:
            if len(self.orders) == 3:
                self._then()
            raise BrokerUnavailable("account: the broker does not answer")
        return Ending.STOPPED


def nothing() -> None:
    """Leave it alone."""


@pytest.mark.parametrize(
    ("then", "lives"),
    [(nothing, [50, 7, 7, 7]), (lambda: os.kill(os.getpid(), signal.SIGTERM), [50, 7, 7])],
)
def test_a_reload_while_the_broker_is_away_waits_for_it_unless_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None], lives: list[int]
) -> None:
    config = configured(tmp_path)
    outage = Outage(config, then=then)
    monkeypatch.setattr(run, "run_daemon", outage.life)
    monkeypatch.setattr(run, "_TRY_AGAIN_SECONDS", 0.05)

    run.run(Options(config=config, json=False), sessions=None, is_waiting=False)

    assert outage.orders == lives


def test_a_start_by_a_service_manager_waits_for_a_broker_that_is_away_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives, told = [], []

    async def life(*_: object, **__: object) -> Ending:
        lives.append(1)
        if len(lives) < 3:
            raise BrokerUnavailable("account: the broker does not answer")
        return Ending.STOPPED

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr(run, "run_daemon", life)
        monkeypatch.setattr(run, "_TRY_AGAIN_SECONDS", 0.05)
        monkeypatch.setattr(run, "_tell_waiting", lambda _, why: told.append(why))

        run.run(Options(config=configured(tmp_path), json=False), sessions=None, is_waiting=False)
        manager.settimeout(5)
        heard = [manager.recv(4096).decode() for _ in range(3)]

    assert len(lives) == 3
    assert "STATUS=waiting for the broker: account: the broker does not answer" in heard
    assert "EXTEND_TIMEOUT_USEC=600000000" in heard
    assert told == ["account: the broker does not answer"]


def test_a_reload_gives_signs_of_life_while_the_broker_keeps_its_start_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    outage = Outage(config, then=nothing)
    told: list[str] = []

    async def slow(using: Config, *_: object, stop: asyncio.Event, **more: object) -> Ending:
        if outage.orders:
            told.append("a start")
            await asyncio.sleep(0.3)
        return await outage.life(using, stop=stop, **more)

    monkeypatch.setattr(run, "run_daemon", slow)
    monkeypatch.setattr(run, "_TRY_AGAIN_SECONDS", 0.01)
    monkeypatch.setenv("OPENBELL__CLOCK__KIND", "system")
    monkeypatch.setattr(run, "check_recorded", lambda _: None)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setattr(Notifier, "send", lambda _, message: told.append(message))

    run.run(Options(config=config, json=False), sessions=None, is_waiting=False)

    starts = " ".join(told).split("a start")[1:]
    assert [one.count("WATCHDOG=1") > 3 for one in starts] == [True, True, True]


def test_a_reload_that_finds_the_broker_away_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    monkeypatch.setenv("OPENBELL__ALERTS__URLS", '["json://127.0.0.1:9"]')
    told: list[str] = []
    monkeypatch.setattr(run, "run_daemon", Outage(config, then=nothing).life)
    monkeypatch.setattr(run, "_TRY_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(run, "last_word", lambda _, kind, text: told.append(f"{kind}: {text}"))

    run.run(Options(config=config, json=False), sessions=None, is_waiting=False)

    (one,) = told
    assert one.startswith("daemon.failed: the daemon does not start, so nothing trades until it ")
    assert "account: the broker does not answer" in one


def test_a_start_that_tells_its_end_itself_is_tried_rarely_and_still_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A broker that answers in part lets it come so far; an alert every ten seconds helps nobody.
    sent: list[str] = []

    async def life(*_: object, heard: Callable[[], None], **__: object) -> Ending:
        sent.append("a start")
        heard()
        if sent.count("a start") < 3:
            raise BrokerUnavailable("positions: the broker does not answer")
        return Ending.STOPPED

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(Notifier, "send", lambda _, message: sent.append(message))
    monkeypatch.setattr(run, "run_daemon", life)
    monkeypatch.setattr(run, "_TRY_AGAIN_SECONDS", 0.01)

    run.run(Options(config=configured(tmp_path), json=False), sessions=None, is_waiting=False)

    pauses = " ".join(sent).split("a start")[1:3]
    assert [one.count("EXTEND_TIMEOUT_USEC=") for one in pauses] == [30, 30]


def test_a_start_by_hand_does_not_wait_for_a_broker_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def life(*_: object, **__: object) -> Ending:
        raise BrokerUnavailable("account: the broker does not answer")

    monkeypatch.setattr(run, "run_daemon", life)

    with pytest.raises(BrokerUnavailable):
        run.run(Options(config=configured(tmp_path), json=False), sessions=None, is_waiting=False)


def test_a_start_that_takes_longer_than_the_morning_does_not_skip_the_first_run(
    tmp_path: Path,
) -> None:
    # From the start to the entry cut-off are 91 minutes: less than a second at this speed.
    with running_daemon(
        tmp_path, "run", speed=6000, OPENBELL__CLOCK__START="2022-11-14T08:29:00-05:00"
    ) as one:
        one.wait_for('"kind": "premarket"')

        first = next(line for line in one.log.splitlines() if '"kind": "premarket"' in line)
        assert '"state": "DONE"' in first, one.log
        assert one.stop() == 0
