"""What a plan is made by: the code as it lies on disk, and the settings that orders follow from."""

import dataclasses
import shutil
import tomllib
from pathlib import Path

import pytest

from daemon.config import Config, Universe
from daemon.doctor.finding import Status
from daemon.doctor.packages import LOCKED, packages
from daemon.provenance import DECIDING, ROOMS, made_by
from tests.support.running import REPOSITORY

CONFIG = Config(universe=Universe(symbols=("AAPL",)))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for room in ROOMS:
        shutil.copytree(
            REPOSITORY / room,
            root / room,
            ignore=lambda _, names: [
                name for name in names if "." in name and not name.endswith(".py")
            ],
        )
    return root


def test_every_room_that_is_installed_counts() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = project["tool"]["setuptools"]["packages"]["find"]["include"]

    assert set(ROOMS) == {name for name in included if not name.endswith(".*")}


def test_d11_n09_any_file_of_the_product_is_part_of_the_name(copy: Path) -> None:
    assert made_by(CONFIG, copy) == made_by(CONFIG)

    (copy / "risk" / "left_over.py").write_text("")

    assert made_by(CONFIG, copy) != made_by(CONFIG)


def test_d11_settings_count_where_orders_follow_from_them() -> None:
    risk = dataclasses.replace(CONFIG.risk, max_orders_per_day=7)
    http = dataclasses.replace(CONFIG.http, port=9999)

    assert made_by(dataclasses.replace(CONFIG, risk=risk)) != made_by(CONFIG)
    assert made_by(dataclasses.replace(CONFIG, http=http)) == made_by(CONFIG)


def test_d11_every_section_is_judged_to_decide_or_not_to() -> None:
    # A new one has to be put on one of the two sides.
    beside = {"alerts", "clock", "health", "http", "logging", "mqtt", "retention", "state"}

    assert {field.name for field in dataclasses.fields(Config)} - set(DECIDING) == beside


def test_n11_packages_that_are_not_the_tested_ones_are_named(tmp_path: Path) -> None:
    (as_tested,) = packages(CONFIG)
    locked = tmp_path / "core.txt"
    locked.write_text(
        LOCKED.read_text().replace("httpx==", "httpx==0.0.1-not-").replace("anyio==", "gone-away==")
    )
    (changed,) = packages(CONFIG, locked)

    assert as_tested.status is Status.OK
    assert changed.status is Status.WARNING
    assert "httpx" in changed.text
    assert "make setup" in changed.fix
    assert list(packages(CONFIG, tmp_path / "not-a-checkout")) == []
