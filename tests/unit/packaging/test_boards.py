"""The boards tell in large letters what is so now, not what once was."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.running import REPOSITORY

BOARDS = sorted((REPOSITORY / "deploy" / "grafana").glob("*.json"))
# Of something that happens once a day the last figure is the one to show.
_OF_THE_LAST_TIME = "histogram_quantile"
PANELS: Mapping[str, Any] = {
    f"{path.stem}: {panel['title']}": panel
    for path in BOARDS
    for panel in json.loads(path.read_text())["panels"]
    if panel["type"] == "stat"
}


@pytest.mark.parametrize("name", PANELS)
def test_a_large_figure_is_asked_for_now(name: str) -> None:
    # Over two days Grafana shows the last figure of each series, however old: a daemon that is
    # down stayed alive, and a killed one was ACTIVE beside HALTED.
    for target in PANELS[name]["targets"]:
        if _OF_THE_LAST_TIME not in target["expr"]:
            assert (target.get("instant"), target.get("range")) == (True, False)


def test_a_daemon_that_is_down_is_not_alive() -> None:
    (alive,) = PANELS["openbell-health: Alive"]["targets"]

    # Of a daemon that cannot be asked there is no figure of its own.
    assert alive["expr"] == 'openbell_healthy or on() 0 * up{job="openbell"}'
