"""A kill over HTTP or MQTT, where something refuses at that very moment."""

from pathlib import Path

import pytest

from daemon.session.unfinished_kill import AGAIN_AFTER_SECONDS
from daemon.telemetry.controls import Controls
from daemon.telemetry.hub import Hub
from domain.errors import BrokerUnavailable, StorageError
from domain.orders import Side
from state.latch import Latch
from state.latch_record import KillAction
from tests.support.held_database import held_by_another_program
from tests.support.order_scene import Scene, live_order
from tests.support.virtual_time import virtual


class Remote:
    """A scene that is commanded from afar."""

    def __init__(self, directory: Path) -> None:
        self.scene = Scene(directory)
        hub = Hub(self.scene.clock)
        self.told: list[tuple[str, str]] = []
        hub.listen(lambda notice: self.told.append((notice.kind, notice.text)))
        self.controls = Controls(self.scene.desk, hub)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]

    def recorded(self) -> list[str]:
        rows = self.scene.store.rows("SELECT text FROM incidents WHERE kind = 'kill.engaged'")
        return [row["text"] for row in rows]


@virtual
async def test_e04_kill_from_afar_cancels_while_another_program_holds_the_database(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    await live_order(remote.scene)
    remote.scene.store.rows("PRAGMA busy_timeout = 0")

    with held_by_another_program(tmp_path):
        remote.controls.kill("from afar")
        await remote.controls.settled()
        left = remote.scene.broker.working()

    assert not left
    assert remote.kinds == ["kill.engaged", "kill.unrecorded"]
    assert remote.scene.latch.read().is_engaged
    assert remote.scene.latch.read().pending is None


@virtual
async def test_kill_from_afar_without_a_list_of_orders_cancels_them_and_says_what_is_not_known(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    await live_order(remote.scene)
    away = [BrokerUnavailable("orders: an answer is not usable")] * 1000
    remote.scene.broker.read_faults["open_orders"].extend(away)

    remote.controls.kill("from afar")
    await remote.controls.settled()

    assert not remote.scene.broker.working()
    assert remote.kinds == ["kill.engaged", "kill.unfinished"]
    assert "was asked to cancel everything, and nothing shows yet" in remote.told[1][1]
    assert remote.scene.latch.read().pending is KillAction.CANCEL


@virtual
async def test_kill_from_afar_is_written_into_the_books_with_the_moment_of_asking(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    asked_at = remote.scene.clock.now()

    remote.controls.kill("from afar")
    await remote.controls.settled()

    assert remote.scene.store.latch_row().is_engaged
    (row,) = remote.scene.store.rows("SELECT at, text FROM incidents")
    assert row["text"] == "from afar"
    assert row["at"].startswith(asked_at.strftime("%Y-%m-%dT%H:%M:%S"))


@virtual
async def test_k07_kill_from_afar_cancels_where_the_latch_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(tmp_path)
    await live_order(remote.scene)

    def refuse(*_words: object, **_names: object) -> None:
        raise StorageError("KILL could not be engaged (read-only)")

    monkeypatch.setattr(Latch, "engage", refuse)
    with pytest.raises(StorageError, match="read-only"):
        remote.controls.kill("from afar")
    await remote.controls.settled()

    assert not remote.scene.broker.working()
    assert remote.scene.desk.is_halted
    ((kind, text),) = remote.told
    assert kind == "kill.engaged"
    assert "only until this process ends" in text


@virtual
async def test_k07_e01_kill_from_afar_cancels_where_the_latch_could_only_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(tmp_path)
    await live_order(remote.scene)

    def refuse(*_words: object) -> None:
        raise OSError("no space")

    for name in ("write_durably", "overwrite_durably"):
        monkeypatch.setattr(f"state.latch.{name}", refuse)
    remote.controls.kill("from afar")
    await remote.controls.settled()

    assert not (tmp_path / "KILL").exists()
    assert not remote.scene.broker.working()


@virtual
async def test_kill_from_afar_that_comes_while_one_is_under_way_has_a_look_of_its_own(
    tmp_path: Path,
) -> None:
    remote = Remote(tmp_path)
    broker = remote.scene.broker
    looks = 0

    def after_the_last_look(name: str) -> None:
        nonlocal looks
        looks += name == "account"
        if name == "account" and looks == 2:
            # The second look agrees, and nobody asks for orders any more.
            broker.place_by_hand("AAPL", Side.BUY, 1, coid="by-hand")
            remote.controls.kill("again")

    broker.on_read = after_the_last_look
    remote.controls.kill("from afar")
    await remote.controls.settled()

    assert not broker.working()
    assert remote.recorded() == ["from afar", "again"]


@virtual
async def test_kill_from_afar_that_meets_a_bug_is_told_and_tried_again(tmp_path: Path) -> None:
    remote = Remote(tmp_path)
    await live_order(remote.scene)
    remote.scene.broker.read_faults["open_orders"].append(KeyError("qty"))  # type: ignore[arg-type]

    remote.controls.kill("from afar")
    await remote.scene.clock.sleep(AGAIN_AFTER_SECONDS + 60)

    assert remote.kinds == ["kill.engaged", "kill.unfinished"]
    assert "run the same `openbell kill` again" in remote.told[1][1]
    assert not remote.scene.broker.working()
