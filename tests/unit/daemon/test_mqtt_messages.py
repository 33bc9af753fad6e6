"""What is told over MQTT: the session's documents, whatever was traded in the years before."""

import datetime as dt
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.telemetry import messages
from daemon.telemetry.messages import TelemetryReader
from domain.errors import StateError
from domain.ids import BrokerOrderId, ClientOrderId
from state.decisions import Decisions
from state.facts import Facts
from state.journal import Journal
from state.ledger import Ledger
from state.reader import Reader
from state.store import Store
from tests.support.recorded_day import a_combined, a_signal, a_view
from tests.support.state_builders import SESSION, START, a_fill, approved, open_store

DAY = dt.timedelta(days=1)


def trade(store: Store, date: dt.date) -> None:
    """Plan and execute one order of a session."""
    one = f"ob-{date}"
    Journal(store).record_plan([approved(one, session_date=date)], f"run-{date}")
    fill = a_fill(
        f"x-{one}",
        at=START + (date - SESSION),
        client_order_id=ClientOrderId(one),
        broker_order_id=BrokerOrderId(f"b-{one}"),
    )
    Ledger(store).apply_fill(fill, origin="stream")
    Facts(store).put(session_date=date.isoformat())


def told(directory: Path) -> Any:
    return TelemetryReader(directory, account_tail="0001").everything()


def test_orders_and_fills_are_those_of_the_session(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    trade(store, SESSION - DAY)
    trade(store, SESSION)

    documents = told(tmp_path)

    assert [row["client_order_id"] for row in documents["orders"]] == [f"ob-{SESSION}"]
    assert [row["client_order_id"] for row in documents["fills"]] == [f"ob-{SESSION}"]


def test_the_wishes_of_the_day_before_are_not_told_as_those_of_the_session(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    Facts(store).put(session_date=SESSION.isoformat())
    Decisions(store).record("run", a_view(), [a_signal()], [a_combined()])
    decided = told(tmp_path)["signals"]

    Facts(store).put(session_date=(SESSION + DAY).isoformat())

    assert [row["symbol"] for row in decided] == ["AAPL"]
    assert told(tmp_path)["signals"] == []


def test_before_the_first_session_there_are_none(tmp_path: Path) -> None:
    open_store(tmp_path)

    assert (told(tmp_path)["orders"], told(tmp_path)["fills"]) == ([], [])


def test_what_is_read_for_them_does_not_grow_with_the_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They are read on the loop at every change: a second there is one in which no kill is heard.
    store, read = open_store(tmp_path), []

    class Counting(Reader):
        def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
            rows = super()._rows(sql, parameters)
            read.append(len(rows))
            return rows

    monkeypatch.setattr(messages, "Reader", Counting)
    trade(store, SESSION)
    told(tmp_path)
    young = max(read)
    for number in range(1, 41):
        trade(store, SESSION + number * DAY)
    told(tmp_path)

    assert max(read) == young


def test_what_could_not_be_read_for_a_new_connection_is_told_with_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path)
    reader = TelemetryReader(tmp_path, account_tail="0001")
    reader.everything()
    with monkeypatch.context() as patched:
        patched.setattr(messages, "Reader", refusing)
        with pytest.raises(StateError):
            reader.everything()

    # At the broker the last will stands, so the status is news though nothing in it changed.
    assert reader.changed().keys() >= {"status", "runs"}
    assert reader.changed() == {}


def refusing(_directory: Path) -> Reader:
    raise StateError("disk I/O error")
