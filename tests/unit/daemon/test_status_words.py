"""What ``openbell status`` says of a daemon: what it wrote last looks the same after it died."""

import datetime as dt
from pathlib import Path

import pytest

from daemon.command_line import Options
from daemon.commands.reading import sign_of_life
from daemon.commands.stopping import pause
from domain.trading_state import TradingState
from state.fact_words import STOPPED
from state.facts import Facts
from state.reader import Reader
from state.risk_state import RiskState
from tests.support.running import REPOSITORY
from tests.support.state_builders import START, open_store


@pytest.mark.parametrize(
    ("phase", "silence", "told"),
    [
        ("cutoff", 9, "heard of at 2022-12-14 13:00:00 UTC"),
        ("cutoff", 7200, "NOT HEARD OF since 2022-12-14 13:00:00 UTC"),
        (STOPPED, 7200, "stopped"),
    ],
    ids=["alive", "dead", "stopped"],
)
def test_a_daemon_that_is_not_heard_of_is_not_told_as_one_that_lives(
    tmp_path: Path, phase: str, silence: int, told: str
) -> None:
    Facts(open_store(tmp_path)).put(heartbeat_at=START.isoformat(), session_phase=phase)
    with Reader(tmp_path) as reader:
        status = reader.status()

    assert str(sign_of_life(status, START + dt.timedelta(seconds=silence))).startswith(told)


def test_replayed_time_tells_nothing_of_how_long_a_daemon_is_silent(tmp_path: Path) -> None:
    Facts(open_store(tmp_path)).put(heartbeat_at=START.isoformat(), session_phase="cutoff")
    with Reader(tmp_path) as reader:
        assert sign_of_life(reader.status(), None) == "heard of at 2022-12-14 13:00:00 UTC"


def test_who_never_wrote_a_sign_of_life_is_told_nothing_of(tmp_path: Path) -> None:
    open_store(tmp_path)
    with Reader(tmp_path) as reader:
        assert sign_of_life(reader.status(), START) is None


def test_the_end_of_a_pause_is_not_told_as_the_end_of_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path))
    options = Options(config=REPOSITORY / "config.toml", json=False)
    risk = RiskState(open_store(tmp_path))

    risk.set_trading_state(TradingState.REDUCING, "daily loss of 1.62 % reached 1.5 %")
    pause(options, is_paused=False, reason="")
    risk.set_trading_state(TradingState.REDUCING, "paused: lunch")
    pause(options, is_paused=False, reason="")

    blocked, allowed = capsys.readouterr().out.splitlines()
    assert blocked.startswith("The pause is ended; entries stay blocked, REDUCING: daily loss")
    assert allowed == "Entries are allowed."
