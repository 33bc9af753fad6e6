from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.clock import ManualClock
from state.journal import Journal
from state.ledger import Ledger
from state.store import Store
from tests.support.state_builders import START


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def store(directory: Path, clock: ManualClock) -> Iterator[Store]:
    opened = Store.open(directory, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)
