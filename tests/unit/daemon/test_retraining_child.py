"""What the training process makes of the registry before it trains."""

import datetime as dt
from pathlib import Path

import pytest

from daemon.after_close.retraining_child import Request, retrain
from domain.errors import StateError


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
