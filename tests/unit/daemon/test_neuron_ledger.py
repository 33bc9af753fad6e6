import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.sources.neuron_ledger import FREE_NEURONS, WORKERS_AI, NeuronLedger
from domain.clock import ManualClock
from state.costs import Costs
from state.facts import Facts
from state.store import Store

NOON = dt.datetime(2022, 12, 14, 12, tzinfo=dt.UTC)
TODAY, TOMORROW = NOON.date(), NOON.date() + dt.timedelta(days=1)
DAY = (NOON - dt.timedelta(hours=12), NOON + dt.timedelta(hours=12))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, clock=ManualClock(NOON))
    yield opened
    opened.close()


def ledger(store: Store) -> NeuronLedger:
    return NeuronLedger(store, usd_per_thousand=0.011, clock=ManualClock(NOON))


def test_a_restart_does_not_forget_the_neurons_of_the_day(store: Store) -> None:
    ledger(store).book(TODAY, 150.5)
    ledger(store).book(TODAY, 10)

    assert ledger(store).spent(TODAY) == 160.5
    assert ledger(store).spent(TOMORROW) == 0
    assert Costs(store).spent(None, *DAY) == 0


def test_a_new_day_starts_from_nothing(store: Store) -> None:
    ledger(store).book(TODAY, 150)
    ledger(store).book(TOMORROW, 1)

    assert ledger(store).spent(TOMORROW) == 1


def test_what_is_beyond_the_free_neurons_is_booked_in_dollars(store: Store) -> None:
    ledger(store).book(TODAY, FREE_NEURONS - 500)
    ledger(store).book(TODAY, 1_500)
    ledger(store).book(TODAY, 1_000)

    assert Costs(store).spent(WORKERS_AI, *DAY) == Decimal("0.022")


@pytest.mark.parametrize(
    "noted",
    ["not json", "[]", '{"day": "2022-12-14"}', '{"day": "2022-12-14", "neurons": -1}'],
)
def test_a_note_that_cannot_be_read_counts_the_free_part_as_gone(store: Store, noted: str) -> None:
    Facts(store).put(workers_ai_neurons=noted)

    assert ledger(store).spent(TODAY) == FREE_NEURONS
