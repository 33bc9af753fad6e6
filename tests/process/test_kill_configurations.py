"""The kill switch with a configuration that is not in order: the real broker, or not verified."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from state.latch import Latch
from state.latch_record import KillAction
from tests.support.processes import World, wait_for

Open = Callable[..., World]

QUEUED = {"start": "2022-11-14T09:20:30", "speed": 20}


def edit(world: World, old: str, new: str) -> None:
    """Change the configuration under the daemon."""
    path = world.home / "config.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def with_working_orders(world: World) -> None:
    """Leave working orders behind and no daemon, the latch armed."""
    daemon = world.daemon()
    daemon.wait_event("orders.sent")
    daemon.kill()
    assert len(world.working()) == 4
    assert not Latch(world.state).read().is_engaged


def kill(world: World, status: int, *arguments: str, **environ: Any) -> tuple[dict[str, Any], str]:
    """Kill; return the report and what was told beside it."""
    done = world.openbell("--json", "kill", *arguments, **environ)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["verified"] is (status == 0)
    return report, done.stderr


@pytest.mark.parametrize(
    ("section", "name"), [("broker.alpaca", "read_timeout"), ("state", "keep"), ("risk", "kelly")]
)
def test_k01_n02_a_misspelt_key_and_the_kill_still_asks_the_real_broker(
    open_world: Open, section: str, name: str
) -> None:
    world = open_world(**QUEUED, config="[risk]\nkelly_fraction = 0.2\n")
    world.move_state(world.home / "books")
    with_working_orders(world)
    edit(world, 'kind = "replay"\nstart = "broker"\n', 'kind = "system"\n')
    edit(world, f"[{section}]\n", f"[{section}]\n{name} = 5.0\n")
    refused = world.openbell("run")
    assert refused.returncode == 78
    assert f"{section}.{name}: unknown key" in refused.stderr

    report, told = kill(world, 0)

    assert report["latched"] is True
    assert world.working() == []
    latch = Latch(world.state).read()
    assert (latch.is_engaged, latch.pending) == (True, None)
    assert (f"{name}: unknown key" in told) is (section != "risk")


def test_k01_n02_a_kill_that_does_not_know_the_broker_is_not_verified_and_completed_later(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world)
    edit(world, "trading_url", "trading_ulr")

    report, _ = kill(world, 2, "--flatten")

    assert (report["latched"], report["open_orders"]) == (True, None)
    assert "broker.alpaca.trading_ulr: unknown key" in report["problems"][0]
    assert Latch(world.state).read().pending is KillAction.FLATTEN
    assert len(world.working()) == 4
    edit(world, "trading_ulr", "trading_url")
    world.daemon().wait_event("account.read")
    wait_for("an empty book", lambda: world.working() == [])
    assert Latch(world.state).read().pending is None


def test_k01_n02_with_an_unusable_mode_the_broker_is_asked_and_the_kill_stays_pending(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world)
    edit(world, "[universe]", 'mode = "lvie"\n[universe]')

    report, _ = kill(world, 2)

    assert (report["latched"], report["open_orders"]) == (True, 0)
    assert "mode = 'lvie'" in report["problems"][0]
    assert world.working() == []
    assert Latch(world.state).read().pending is KillAction.CANCEL


def test_k01_n02_without_a_state_directory_the_broker_is_asked_and_nothing_is_latched(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    world.move_state(world.home / "books")
    with_working_orders(world)
    edit(world, "directory =", "directroy =")

    report, _ = kill(world, 2)

    assert (report["latched"], report["open_orders"], report["suspended"]) == (False, 0, True)
    assert "state.directroy: unknown key" in report["problems"][0]
    assert "the state directory is not known" in report["problems"][0]
    assert world.working() == []
    assert not (world.home / "var").exists()


def test_k01_n03_a_kill_in_a_folder_without_a_configuration_is_not_verified(
    open_world: Open, tmp_path: Path
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world)
    (world.home / "config.toml").rename(world.home / "kept.toml")

    # The default directory holds the books here; elsewhere nothing is made.
    report, _ = kill(world, 2)
    assert report["latched"] is True
    assert "config.toml: no such file" in report["problems"][0]
    assert len(world.working()) == 4
    world.state.rename(tmp_path / "moved")
    report, _ = kill(world, 2)
    assert report["latched"] is False
    assert not world.state.exists()

    report, _ = kill(
        world,
        0,
        OPENBELL__STATE__DIRECTORY=str(tmp_path / "moved"),
        OPENBELL__BROKER__KIND="alpaca",
        OPENBELL__BROKER__ALPACA__TRADING_URL=world.urls["trading_url"],
    )
    assert report["latched"] is True
    assert world.working() == []


def test_a_reason_that_is_not_utf_8_stops_neither_status_nor_run_nor_resume(
    open_world: Open,
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world)
    # What Python makes of a byte that is no UTF-8; as an argument it becomes that byte again.
    reason = "stop,\ncaf\udce9 \x1b[31mnow"

    assert world.openbell("pause", "--reason", reason).returncode == 0
    kill(world, 0, "--reason", reason)

    assert Latch(world.state).read().reason == "stop, caf   [31mnow"
    status = world.read("status")
    assert status["kill"]["reason"] == "stop, caf   [31mnow"
    assert world.openbell("unpause", "--reason", reason).returncode == 0
    blank = world.openbell("resume", "--reason", "\udce9", "--confirm", "DED1")
    assert blank.returncode == 78
    assert "resume needs a reason" in blank.stderr
    done = world.openbell("resume", "--reason", reason, "--confirm", "DED1")
    assert done.returncode == 0, done.stderr
    daemon = world.daemon()
    assert daemon.wait_event("daemon.started")["latch_engaged"] is False
    assert daemon.terminate() == 0


def test_k01_n06_a_key_of_another_service_that_may_not_be_read_stops_no_kill(
    open_world: Open, tmp_path: Path
) -> None:
    world = open_world(**QUEUED)
    with_working_orders(world)
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "FINNHUB_API_KEY").write_text("put there after the start")
    (folder / "FINNHUB_API_KEY").chmod(0o644)

    report, _ = kill(world, 0, CREDENTIALS_DIRECTORY=str(folder))

    assert report["latched"] is True
    assert world.working() == []
