import datetime as dt
import json
from pathlib import Path

import pytest

from daemon.command_line import Options
from daemon.commands.scores import scores
from domain.clock import ManualClock
from domain.forecasts import ForecastSource
from domain.track_record import ScoreLine, Standing
from state.standings import Standings
from state.store import Store

REPOSITORY = Path(__file__).parents[3]
NOW = dt.datetime(2022, 11, 16, tzinfo=dt.UTC)
DAYS = [dt.date(2022, 11, day) for day in (14, 15, 16)]


def a_line(grouping: str, name: str) -> ScoreLine:
    return ScoreLine(
        grouping=grouping,
        name=name,
        count=1250,
        effective_size=41.7,
        accuracy=0.5113,
        baseline_accuracy=0.489,
        brier=0.2498,
        baseline_brier=0.2503,
        coverage_of_80_band=0.81,
    )


@pytest.fixture
def options(tmp_path: Path) -> Options:
    text = (REPOSITORY / "config.toml").read_text()
    path = tmp_path / "config.toml"
    path.write_text(text.replace('directory = "var"', f'directory = "{tmp_path / "var"}"'))
    Store.open(
        tmp_path / "var", clock=ManualClock(dt.datetime(2022, 11, 16, tzinfo=dt.UTC))
    ).close()
    return Options(config=path, json=False)


def fill(options: Options, *, reason: str) -> Path:
    directory = Path(str(options.config)).parent / "var"
    store = Store.open(directory, clock=ManualClock(NOW))
    standing = Standing(
        source=ForecastSource.REMOTE,
        model="lstm/1",
        is_demoted=bool(reason),
        bad=0,
        good=0,
        cool_down=20,
        reason=reason,
        complaint="",
    )
    names = (("source", "remote"), ("model", "lstm/1"), ("confidence", "60-65 %"), ("symbol", "KO"))
    for day in DAYS:
        Standings(store).put(day, [a_line(*pair) for pair in names], [standing])
    store.close()
    return directory


def test_before_anything_matured_it_says_when(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    scores(options)

    assert "0 forecasts locked, 0 matured" in capsys.readouterr().out


def test_scores_stand_beside_their_baseline_in_100_columns_and_on_a_page(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = fill(options, reason="Brier skill -3.0% <script>")

    scores(options)

    told = capsys.readouterr().out
    assert "lstm/1 is demoted: Brier skill -3.0%" in told
    assert "51.1" in told
    assert "48.9" in told
    for grouping in ("source", "model", "confidence", "symbol"):
        assert f"by {grouping}" in told
    written = (directory / "reports" / "forecasts.html").as_posix()
    rest = told.replace("\n", "").split("Plots: ")
    assert rest[1] == written
    assert all(len(line) <= 100 for line in told.splitlines())
    page = Path(written).read_text()
    assert page.count("<svg") == 4
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_as_json_it_is_one_document_with_its_history(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(options, reason="")

    scores(Options(config=options.config, json=True))

    document = json.loads(capsys.readouterr().out)
    assert document["session_date"] == DAYS[-1].isoformat()
    assert document["groups"]["source"][0]["accuracy"] == 0.5113
    assert document["standings"][0]["is_demoted"] is False
    assert len(document["history"]) == 2 * len(DAYS)
