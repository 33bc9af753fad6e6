"""The locks: complete, hashed, of one mind, and silent about where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HASHED = ("build.txt", "core.txt", "data.txt", "dev.txt", "train.txt")
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / name).read_text()))


def declared(extra: str | None = None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in wanted}


@pytest.mark.parametrize("name", HASHED)
def test_every_locked_package_has_a_hash(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()

    blocks = re.split(r"\n(?=[a-z0-9])", text)

    assert pins(name)
    assert [block for block in blocks if PIN.match(block) and "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", [*HASHED, "torch.txt"])
def test_a_lock_names_no_index_and_no_place_on_a_machine(name: str) -> None:
    lines = (ROOT / "requirements" / name).read_text().splitlines()

    assert [line for line in lines if "://" in line or re.search(r"(^|\s|@)/", line)] == []
    assert [line for line in lines if line.startswith("-")] == []


def test_the_core_lock_holds_every_declared_dependency() -> None:
    assert declared() - set(pins("core.txt")) == set()


def test_the_other_locks_hold_their_extras_but_torch() -> None:
    assert declared("dev") - set(pins("dev.txt")) == set()
    assert declared("train") - set(pins("train.txt")) == {"torch"}


@pytest.mark.parametrize("name", ["dev.txt", "train.txt"])
def test_a_package_has_one_version_in_all_locks(name: str) -> None:
    core, other = pins("core.txt"), pins(name)

    assert {package: other.get(package) for package in core} == core


def test_no_lock_pulls_torch_or_cuda_into_the_core() -> None:
    unwelcome = [p for p in pins("core.txt") if p.startswith(("nvidia", "torch", "triton"))]

    assert unwelcome == []
