"""What a scrape reads from the state: nothing twice, and what happened between two scrapes."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

from daemon.config import load
from daemon.telemetry.collector import StateCollector, exposition
from daemon.telemetry.metrics import Meters
from daemon.telemetry.vitals import Vitals
from domain.account import Position
from domain.clock import ManualClock
from state.equity import EquityCurve
from state.facts import Facts
from state.journal import Journal
from state.ledger import Ledger
from state.reports import Reports
from state.runs import Runs, RunState
from state.store import Store
from tests.support.running import REPOSITORY
from tests.support.state_builders import (
    AAPL,
    OB1,
    SESSION,
    START,
    a_broker_order,
    a_fill,
    approved,
    open_store,
)


class Scraped:
    """One process that is scraped, on the books of a directory."""

    def __init__(self, directory: Path) -> None:
        config = load(REPOSITORY / "config.toml", {"OPENBELL__STATE__DIRECTORY": str(directory)})
        self._meters = Meters(mode="paper")
        self._collector = StateCollector(
            config, clock=ManualClock(START), vitals=Vitals(), meters=self._meters
        )
        self._meters.registry.register(self._collector)

    def scrape(self) -> str:
        return exposition(self._meters, self._collector).decode()

    def count(self, histogram: str) -> float | None:
        self.scrape()
        return self._meters.registry.get_sample_value(f"{histogram}_count")


def begin_order(store: Store) -> None:
    Facts(store).put(session_date=SESSION.isoformat())
    Journal(store).record_plan([approved()], "run-1")
    Journal(store).mark_sending(OB1)


def execute_order(store: Store) -> None:
    Journal(store).apply_order(a_broker_order())
    Ledger(store).apply_fill(a_fill(), origin="stream")


def test_an_answer_is_counted_once_by_the_process_that_had_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    begin_order(store)
    first = Scraped(tmp_path)
    execute_order(store)

    counted = [first.count("openbell_order_ack_latency_seconds") for _ in range(2)]
    filled = [first.count("openbell_order_fill_latency_seconds") for _ in range(2)]

    assert counted == filled == [1, 1]


def test_after_a_restart_the_answers_of_the_session_are_not_counted_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    begin_order(store)
    execute_order(store)

    restarted = Scraped(tmp_path)

    assert restarted.count("openbell_order_ack_latency_seconds") == 0
    assert restarted.count("openbell_order_fill_latency_seconds") == 0


def test_a_run_that_failed_before_the_first_scrape_is_seen(tmp_path: Path) -> None:
    runs = Runs(open_store(tmp_path))
    run_id = runs.begin(SESSION, "submit", START)
    assert run_id is not None
    runs.finish(run_id, RunState.FAILED, "no equity", START + dt.timedelta(seconds=9))

    text = Scraped(tmp_path).scrape()

    at = (START + dt.timedelta(seconds=9)).timestamp()
    name = 'openbell_run_ended_timestamp_seconds{kind="submit",state="FAILED"}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    assert float(line.split()[1]) == at


def test_a_report_that_does_not_balance_waits_until_a_person_accepts_it(tmp_path: Path) -> None:
    reports = Reports(open_store(tmp_path))
    reports.record(SESSION, is_reconciled=False, residual=Decimal("2.50"), digest="a", at=START)
    scraped = Scraped(tmp_path)

    assert "openbell_report_unbalanced 1.0" in scraped.scrape()

    waiting = reports.unbalanced()
    assert waiting is not None
    reports.accept(waiting)

    assert "openbell_report_unbalanced 0.0" in scraped.scrape()
    assert "openbell_report_reconciled 0.0" in scraped.scrape()


def test_what_all_holdings_gained_is_not_told_while_the_price_of_one_is_missing(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    begin_order(store)
    execute_order(store)
    scraped = Scraped(tmp_path)

    before = scraped.scrape()
    held = Position(
        symbol=AAPL,
        quantity=Decimal(100),
        avg_entry_price=Decimal("143.20"),
        market_price=Decimal(144),
    )
    EquityCurve(store).record(
        START,
        session_date=SESSION,
        equity=Decimal(100080),
        cash=Decimal(85680),
        positions=[held],
    )

    assert "openbell_unrealized_pnl_usd" not in before
    assert 'openbell_exposure_usd{kind="gross"} 14320.0' in before
    assert "openbell_unrealized_pnl_usd 80.0" in scraped.scrape()
