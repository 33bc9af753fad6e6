"""What the training process makes of its request and of the registry."""

import datetime as dt
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.after_close import retraining_child
from daemon.after_close.retraining_child import Request, retrain
from domain.errors import StateError
from domain.ids import Symbol
from forecasts.model_store import ModelStore
from marketdata.store import BarStore, Provenance
from tests.support.forecast_scene import made_up_bars

TINY = {
    "lookback": 8,
    "horizon": 3,
    "hidden": 4,
    "batch_size": 64,
    "samples_per_epoch_fraction": 0.3,
    "max_epochs": 1,
}
LAST = dt.date(2022, 6, 24)


@pytest.mark.slow
def test_a_candidate_reaches_as_far_ahead_as_the_daemon_forecasts(tmp_path: Path) -> None:
    asked = Provenance(
        source="alpaca",
        adjustment="split",
        fetched_at=dt.datetime(2022, 6, 24, 21, tzinfo=dt.UTC),
        asked_from=dt.date(2018, 1, 1),
    )
    bars = made_up_bars("KO", 1000, last=LAST)
    BarStore(tmp_path / "bars").write(Symbol("KO"), bars, asked)

    found = retrain(
        Request(
            models=str(tmp_path / "models"),
            bars=str(tmp_path / "bars"),
            symbols=("KO",),
            model="lstm",
            until=(LAST + dt.timedelta(days=1)).isoformat(),
            step=5,
            promote=False,
            recipe=TINY,
        )
    )

    assert (found["candidate"], found["champion"], found["step"]) == ("lstm/2", "lstm/1", 5)
    assert ModelStore([tmp_path / "models"]).card("lstm", "2").horizon == 5


def test_what_a_library_prints_is_not_in_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noisy(request: Request) -> dict[str, str]:
        sys.stdout.write("a warning of some library\n")
        return {"candidate": request.model}

    monkeypatch.setattr(retraining_child, "retrain", noisy)
    monkeypatch.setattr(retraining_child, "_offer_itself", lambda: None)
    told: dict[str, Any] = {"models": "m", "bars": None, "symbols": [], "model": "lstm"}
    told |= {"until": "2022-06-25", "step": 3, "promote": False}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(told)))

    assert retraining_child.main() == 0

    assert json.loads(capsys.readouterr().out) == {"candidate": "lstm"}


def test_a_pointer_that_cannot_be_read_is_no_reason_to_promote_unjudged(tmp_path: Path) -> None:
    (tmp_path / "lstm").mkdir()
    (tmp_path / "lstm" / "current").write_text("")

    with pytest.raises(StateError, match="holds no version; run `openbell models promote lstm"):
        retrain(
            Request(
                models=str(tmp_path),
                bars=str(tmp_path / "bars"),
                symbols=("KO",),
                model="lstm",
                until=dt.date(2022, 6, 25).isoformat(),
                step=1,
                promote=False,
            )
        )
