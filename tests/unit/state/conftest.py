from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.clock import ManualClock
from state.journal import Journal
from state.ledger import Ledger
from state.reader import Reader
from state.store import Store
from tests.support.recorded_day import a_day
from tests.support.state_builders import OB1, START, a_broker_order, approved


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


@pytest.fixture
def live(journal: Journal) -> Journal:
    journal.record_plan([approved("ob-1")], "run")
    journal.mark_sending(OB1)
    journal.apply_order(a_broker_order())
    return journal


@pytest.fixture
def day(store: Store, directory: Path) -> Reader:
    a_day(store)
    return Reader(directory)
