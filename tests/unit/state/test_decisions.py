import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.account import Account, Asset, Position
from domain.decisions import CombinedSignal
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar, HeadlineRecord, MarketView, Session
from domain.signals import Action, SentimentLabel, SentimentScore, Signal
from state.decisions import Decisions, view_hash
from state.reader import Reader
from state.retention import Retention, prune_records
from state.store import Store
from tests.support.state_builders import AAPL, SESSION, START, whole_table

MSFT = Symbol("MSFT")


def a_view(**changes: Any) -> MarketView:
    bar = Bar(symbol=AAPL, at=START - dt.timedelta(days=1), close=143.21)
    view = MarketView(
        as_of=START,
        session=Session(
            date=SESSION,
            open=START + dt.timedelta(hours=1, minutes=30),
            close=START + dt.timedelta(hours=8),
            is_half_day=False,
        ),
        account=Account(
            account_number="PA1",
            status="ACTIVE",
            equity=Decimal("100000"),
            last_equity=Decimal("100000"),
            cash=Decimal("100000"),
            buying_power=Decimal("200000"),
            is_trading_blocked=False,
            is_suspended_by_user=False,
        ),
        history={AAPL: (bar,)},
        forecasts={
            AAPL: Forecast(
                symbol=AAPL,
                as_of=START,
                horizon=5,
                levels=(0.1, 0.5, 0.9),
                quantiles=(-0.02, 0.01, 0.04),
                mean=0.01,
                volatility=0.02,
                probability_up=0.69,
                source=ForecastSource.LOCAL,
                model="lstm",
                model_hash="abc",
                data_cutoff=dt.date(2022, 12, 13),
            )
        },
        sentiment={
            AAPL: SentimentScore(
                symbol=AAPL,
                score=0.2,
                label=SentimentLabel.BULLISH,
                confidence=0.6,
                source="lexicon",
                headlines=3,
                newest_at=None,
                as_of=START,
            )
        },
        positions={
            AAPL: Position(
                symbol=AAPL,
                quantity=Decimal(10),
                avg_entry_price=Decimal(140),
                market_price=Decimal("143.21"),
            )
        },
        assets={
            AAPL: Asset(symbol=AAPL, is_tradable=True, is_shortable=True, is_fractionable=True)
        },
        excluded={MSFT: "bars are 4 days old"},
    )
    return dataclasses.replace(view, **changes)


def a_signal(**changes: Any) -> Signal:
    signal = Signal(
        symbol=AAPL,
        strategy="momentum",
        action=Action.BUY,
        strength=0.5,
        confidence=0.69,
        expected_return=0.01,
        volatility=0.02,
        horizon=5,
        reason="forecast up",
    )
    return dataclasses.replace(signal, **changes)


def a_combined() -> CombinedSignal:
    return CombinedSignal(
        symbol=AAPL,
        action=Action.BUY,
        strength=0.5,
        confidence=0.69,
        expected_return=0.01,
        volatility=0.02,
        horizon=5,
        sentiment_tilt=0.02,
        kelly_weight=0.042,
        target_quantity=Decimal(29),
        reason="one strategy",
    )


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

    deleted = prune_records(store, Retention(headline_days=30), START + dt.timedelta(days=31))

    assert (deleted["headlines"], deleted["decisions"]) == (1, 0)
    assert store.rows(whole_table("headlines")) == []
