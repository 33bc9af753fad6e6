import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from domain.market import Bar, HeadlineRecord
from state.decisions import Decisions, view_hash
from state.reader import Reader
from state.retention import Retention
from state.store import Store
from tests.support.recorded_day import MSFT, a_combined, a_signal, a_view
from tests.support.state_builders import AAPL, SESSION, START, pruned, whole_table


def test_decision_is_stored_with_everything_it_saw(store: Store) -> None:
    digest = Decisions(store).record("run-1", a_view(), [a_signal()], [a_combined()])

    assert digest == view_hash(a_view())
    for table in ("decisions", "forecasts", "sentiment", "signals", "combined_signals"):
        assert len(store.rows(whole_table(table))) == 1, table
    seen = store.rows("SELECT symbol, last_close, position, excluded FROM view_symbols")
    assert [tuple(row) for row in seen] == [
        ("AAPL", "143.21", "10", None),
        ("MSFT", None, "0", "bars are 4 days old"),
    ]


def test_second_decision_of_a_run_replaces_the_first(store: Store) -> None:
    Decisions(store).record("run-1", a_view(), [a_signal()], [a_combined()])
    Decisions(store).record("run-1", a_view(forecasts={}, sentiment={}), [], [])

    for table in ("forecasts", "sentiment", "signals", "combined_signals"):
        assert store.rows(whole_table(table)) == [], table


@pytest.mark.parametrize(
    "changes",
    [
        {"as_of": START + dt.timedelta(seconds=1)},
        {"history": {AAPL: (Bar(symbol=AAPL, at=START - dt.timedelta(days=1), close=143.22),)}},
        {"history": {}},
        {"forecasts": {}},
        {"sentiment": {}},
        {"positions": {}},
        {"assets": {}},
        {"excluded": {MSFT: "other reason"}},
        {"reporting": {AAPL: "reports on 2022-11-15"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_hash_tells_every_part_of_a_view_apart(changes: dict[str, Any]) -> None:
    assert view_hash(a_view(**changes)) != view_hash(a_view())


def test_hash_does_not_depend_on_the_order_of_symbols() -> None:
    bars = {
        symbol: (Bar(symbol=symbol, at=START, close=10.0, volume=5.0),) for symbol in (AAPL, MSFT)
    }
    reordered = dict(reversed(bars.items()))

    assert view_hash(a_view(history=bars)) == view_hash(a_view(history=reordered))


def test_sentiment_of_the_session_before_is_that_of_its_last_decision(store: Store) -> None:
    decisions = Decisions(store)
    today, session = a_view().session.date, a_view().session
    assert decisions.sentiment_before(today) == {}
    for number, (days, score) in enumerate([(2, 0.1), (1, 0.2), (1, 0.3), (0, 0.9)]):
        date = today - dt.timedelta(days=days)
        seen = {
            symbol: dataclasses.replace(one, score=score)
            for symbol, one in a_view().sentiment.items()
        }
        view = a_view(
            session=dataclasses.replace(session, date=date),
            as_of=START - dt.timedelta(days=days) + dt.timedelta(minutes=number),
            sentiment=seen,
        )
        decisions.record(f"run-{number}", view, [], [])

    assert set(decisions.sentiment_before(today).values()) == {0.3}
    assert set(decisions.sentiment_before(today)) == set(a_view().sentiment)


def a_headline(**changes: Any) -> HeadlineRecord:
    record = HeadlineRecord(
        item_id="alpaca-7",
        source="benzinga",
        published_at=START - dt.timedelta(hours=2),
        seen_at=START,
        headline="Apple beats estimates",
        url="https://www.benzinga.com/news/7",
        symbols=(AAPL, MSFT),
        relevance=1.0,
        was_altered=False,
    )
    return dataclasses.replace(record, **changes)


def test_headlines_are_told_with_the_decision_they_entered(store: Store, directory: Path) -> None:
    decisions = Decisions(store)
    decisions.record(
        "one", a_view(), (), (), [a_headline(), a_headline(item_id="b", symbols=(MSFT,))]
    )
    # A run that decides again replaces what it knew.
    decisions.record("one", a_view(), (), (), [a_headline(headline="Apple beats, revised")])

    with Reader(directory) as reader:
        told = reader.decision(AAPL, SESSION)

    assert told is not None
    assert told["decision"]["headlines"] == [
        {
            "item_id": "alpaca-7",
            "source": "benzinga",
            "published_at": "2022-12-14T11:00:00.000000+00:00",
            "seen_at": "2022-12-14T13:00:00.000000+00:00",
            "headline": "Apple beats, revised",
            "url": "https://www.benzinga.com/news/7",
            "symbols": ["AAPL", "MSFT"],
            "relevance": 1.0,
            "was_altered": False,
        }
    ]


def test_a_headline_was_seen_when_the_first_decision_saw_it(store: Store) -> None:
    decisions = Decisions(store)
    decisions.record("one", a_view(), (), (), [a_headline()])
    later = a_headline(seen_at=START + dt.timedelta(days=1))
    decisions.record("two", a_view(), (), (), [later])

    seen = {row["run_id"]: row["seen_at"] for row in store.rows(whole_table("headlines"))}

    assert seen["two"] == seen["one"]


def test_headlines_go_before_the_decisions_they_entered(store: Store) -> None:
    Decisions(store).record("one", a_view(), (), (), [a_headline()])

    deleted = pruned(store, Retention(headline_days=30), START + dt.timedelta(days=31))

    assert (deleted["headlines"], deleted["decisions"]) == (1, 0)
    assert store.rows(whole_table("headlines")) == []
