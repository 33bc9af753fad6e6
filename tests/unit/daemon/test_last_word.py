"""Who is told is told too where no daemon came up to do it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.command_line import Options
from daemon.commands.run import run
from daemon.commands.stopping import kill
from daemon.config import Config
from daemon.lifecycle import Ending
from daemon.telemetry import last_word as module
from daemon.telemetry.last_word import last_word
from domain.clock import SystemClock
from domain.errors import ConfigError, OpenbellError, StateError
from state.files import DATABASE, MARK
from state.latch import Latch
from state.store import Store

REASON = "the daemon failed and did not come back"


class Target:
    """Stands in for one target of Apprise."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def notify(self, *, title: str, body: str) -> bool:
        self.taken.append(f"{title}\n{body}")
        return True


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    made = Target()
    monkeypatch.setattr(module, "open_targets", lambda _urls: [made])
    return made


def configuration(folder: Path, more: str = "", *, kind: str = "embedded") -> Options:
    path = folder / "config.toml"
    path.write_text(
        f'{more}\n[universe]\nsymbols = ["SPY"]\n[broker]\nkind = "{kind}"\n'
        f'[state]\ndirectory = "{folder / "books"}"\n'
        '[alerts]\nurls = ["json://127.0.0.1:9"]\n'
    )
    return Options(config=path, json=True)


def refused(options: Options) -> str:
    with pytest.raises(OpenbellError) as refusal:
        run(options, sessions=1, is_waiting=False)
    return str(refusal.value)


def test_e06_books_that_cannot_be_trusted_are_told_and_not_only_refused(
    tmp_path: Path, target: Target
) -> None:
    books = tmp_path / "books"
    books.mkdir(mode=0o700)
    (books / DATABASE).write_bytes(b"no database")
    (books / DATABASE).chmod(0o600)
    assert not (books / MARK).exists()

    why = refused(configuration(tmp_path))

    (told,) = target.taken
    assert "daemon.failed: the daemon does not start, so nothing trades: " in told
    assert why[:60] in told


def test_n02_a_misspelt_key_that_refuses_the_start_is_told(tmp_path: Path, target: Target) -> None:
    why = refused(configuration(tmp_path, more="max_drawdwon = 5"))

    (told,) = target.taken
    assert "max_drawdwon" in why
    assert "max_drawdwon" in told


def test_n05_keys_that_are_missing_are_told(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)

    refused(configuration(tmp_path, kind="alpaca"))

    (told,) = target.taken
    assert "APCA_API_KEY_ID is missing" in told


def test_a_start_beside_a_daemon_that_trades_does_not_tell_that_nothing_trades(
    tmp_path: Path, target: Target
) -> None:
    books = tmp_path / "books"
    store = Store.open(books, clock=SystemClock())

    why = refused(configuration(tmp_path))

    store.close()
    assert "in use by another openbell" in why
    (told,) = target.taken
    assert f"beside another openbell that has the books: {why}" in told
    assert "nothing trades" not in told


def test_a_daemon_that_told_its_end_itself_is_not_told_again(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended(_config: Config, *, heard: Callable[[], None], **_: object) -> Ending:
        heard()
        raise StateError("the disk is gone")

    monkeypatch.setattr("daemon.commands.run.run_daemon", ended)

    assert refused(configuration(tmp_path)) == "the disk is gone"
    assert target.taken == []


def test_d09_the_kill_after_a_daemon_that_did_not_come_back_is_told(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    options = configuration(tmp_path, kind="alpaca")
    (tmp_path / "books").mkdir(mode=0o700)
    Latch(tmp_path / "books").arm_new(SystemClock().now())

    for _ in range(3):
        assert kill(options, flatten=False, as_before=True, reason=REASON) == 2

    # Tried every 15 seconds by the service manager, it is no news the second time.
    assert len(target.taken) == 1
    assert f"kill.engaged: {REASON}; " in target.taken[0]
    assert "NOT VERIFIED" in target.taken[0]


def test_d09_a_kill_after_a_daemon_that_had_halted_itself_is_told_too(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    options = configuration(tmp_path, kind="alpaca")
    (tmp_path / "books").mkdir(mode=0o700)
    latch, now = Latch(tmp_path / "books"), SystemClock().now()
    latch.arm_new(now)
    latch.engage("drawdown", now)

    for _ in range(3):
        assert kill(options, flatten=False, as_before=True, reason=REASON) == 2

    assert len(target.taken) == 1


def test_a_kill_that_a_person_typed_tells_the_person_only(tmp_path: Path, target: Target) -> None:
    kill(configuration(tmp_path), flatten=False, as_before=False, reason="by hand")

    assert target.taken == []


def test_a_target_that_hangs_or_breaks_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    class Hanging:
        def notify(self, **_: str) -> bool:
            return never.wait()

    class Broken:
        def notify(self, **_: str) -> bool:
            raise RuntimeError("a library of the target's")

    def opened(urls: list[str]) -> list[object]:
        if urls == ["unknown"]:
            raise ConfigError("alerts.urls: target 1 is not in a form Apprise knows")
        return [Hanging()] if urls == ["hanging"] else [Broken()]

    monkeypatch.setattr(module, "open_targets", opened)
    began = time.monotonic()

    last_word(["unknown", "broken", "hanging"], "daemon.failed", "why", seconds=0.2)

    assert time.monotonic() - began < 2
    never.set()
