import dataclasses
import datetime as dt
import sqlite3
from pathlib import Path

import pytest

from domain.errors import StateError
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from domain.track_record import LockedForecast, ScoredForecast, ScoreLine, Standing
from state.figures import Figures
from state.reader import Reader
from state.standings import Standings
from state.store import Store
from state.track_record import TrackRecord, settled
from tests.support.state_builders import AAPL, SESSION, START, open_store

KO = Symbol("KO")
MONTH = dt.date(2022, 11, 1)


def a_locked(number: int = 1, **changes: object) -> LockedForecast:
    record = LockedForecast(
        number=number,
        locked_at=START,
        symbol=AAPL,
        data_cutoff=dt.date(2022, 11, 30),
        last_close=143.2,
        horizon=5,
        levels=(0.1, 0.5, 0.9),
        quantiles=(-0.02, 0.1 / 3, 0.04),
        probability_up=0.62,
        base_rate=0.55,
        source=ForecastSource.REMOTE,
        model="lstm/1@abc",
        model_hash="a" * 64,
        previous="0" * 64,
        digest=f"{number:064d}",
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


def a_scored(number: int = 1, **changes: object) -> ScoredForecast:
    scored = ScoredForecast(
        number=number,
        symbol=AAPL,
        source=ForecastSource.REMOTE,
        model="lstm/1@abc",
        horizon=5,
        probability_up=0.62,
        base_rate=0.55,
        matured_on=SESSION,
        outcome=0.013,
        is_inside_80=True,
    )
    return dataclasses.replace(scored, **changes)  # type: ignore[arg-type]


def a_standing(*, is_demoted: bool, **changes: object) -> Standing:
    standing = Standing(
        source=ForecastSource.REMOTE,
        model="lstm/1@abc",
        is_demoted=is_demoted,
        bad=0,
        good=0,
        cool_down=20,
        reason="Brier skill -3.0%" if is_demoted else "",
        complaint="",
    )
    return dataclasses.replace(standing, **changes)  # type: ignore[arg-type]


def always(cutoff: dt.date, horizon: int) -> bool:
    return True


def numbers(record: TrackRecord) -> list[int]:
    found = record.pending(since=MONTH, is_due=always)
    return [one.number for many in found.values() for one in many]


@pytest.fixture
def record(store: Store) -> TrackRecord:
    return TrackRecord(store)


def test_a_locked_forecast_comes_back_as_it_was(record: TrackRecord) -> None:
    record.lock([a_locked()])

    assert record.last() == a_locked()
    assert list(record.pending(since=MONTH, is_due=always).values()) == [(a_locked(),)]


def test_an_answer_is_one_event_that_holds_its_last_digest(
    store: Store, record: TrackRecord
) -> None:
    record.lock([a_locked(1), a_locked(2, symbol=KO)])
    record.lock([])
    (sequence,) = record.pending(since=MONTH, is_due=always)

    answer = record.answer(sequence)

    assert [one.number for one in answer.records] == [1, 2]
    assert (answer.first, answer.digest) == (1, a_locked(2).digest)
    assert len(store.rows("SELECT 1 FROM events WHERE kind = 'forecasts.locked'")) == 1
    with pytest.raises(StateError, match="locked no forecasts"):
        record.answer(1)


def test_nothing_that_was_locked_or_settled_can_be_changed(
    store: Store, record: TrackRecord
) -> None:
    record.lock([a_locked()])
    record.settle([a_scored()], session_date=SESSION)

    for table, column in (("locked_forecasts", "probability_up"), ("forecast_outcomes", "outcome")):
        with pytest.raises((StateError, sqlite3.IntegrityError), match="never change"):
            store.rows(f"UPDATE {table} SET {column} = 0.9")  # noqa: S608


def test_a_number_that_is_taken_is_refused_and_nothing_is_kept(
    store: Store, record: TrackRecord
) -> None:
    record.lock([a_locked()])

    with pytest.raises(StateError):
        record.lock([a_locked(2), a_locked(1)])

    assert len(store.rows("SELECT 1 FROM locked_forecasts")) == 1
    assert len(store.rows("SELECT 1 FROM events WHERE kind = 'forecasts.locked'")) == 1


def test_only_the_first_answer_about_the_same_is_ever_pending(record: TrackRecord) -> None:
    record.lock([a_locked(1)])
    record.lock([a_locked(2, probability_up=0.9)])
    record.lock([a_locked(3, source=ForecastSource.LOCAL)])

    assert [
        one.number for many in record.pending(since=MONTH, is_due=always).values() for one in many
    ] == [1, 3]
    record.settle([a_scored(1)], session_date=SESSION)
    assert [
        one.number for many in record.pending(since=MONTH, is_due=always).values() for one in many
    ] == [3]
    assert not record.pending(since=SESSION, is_due=always)


def test_outcomes_outlive_the_process(directory: Path) -> None:
    store = open_store(directory)
    TrackRecord(store).lock([a_locked(1), a_locked(2, symbol=KO)])
    TrackRecord(store).settle([a_scored(1)], session_date=SESSION)
    store.close()

    again = open_store(directory)
    found = settled(directory, 60)
    again.close()

    assert found == (a_scored(1),)


def test_the_window_counts_days_on_which_something_matured(
    record: TrackRecord, directory: Path
) -> None:
    days = [SESSION - dt.timedelta(days=30 * back) for back in range(4)]
    record.lock([a_locked(number) for number in range(1, 5)])
    record.settle(
        [a_scored(number, matured_on=day) for number, day in enumerate(days, start=1)],
        session_date=SESSION,
    )

    assert [one.number for one in settled(directory, 2)] == [1, 2]


def test_what_is_not_due_is_not_pending(record: TrackRecord) -> None:
    record.lock([a_locked(1), a_locked(2, symbol=KO, horizon=20)])

    found = record.pending(since=MONTH, is_due=lambda cutoff, horizon: horizon <= 5)

    assert [one.number for many in found.values() for one in many] == [1]


def test_each_source_has_the_model_that_it_answered_with_last(record: TrackRecord) -> None:
    record.lock([a_locked(1), a_locked(2, model="lstm/2@def")])
    record.lock([a_locked(3, source=ForecastSource.LOCAL)])

    assert record.newest_models() == {
        ForecastSource.LOCAL: "lstm/1@abc",
        ForecastSource.REMOTE: "lstm/2@def",
    }


def test_doing_a_session_again_replaces_its_scores_and_sees_the_standing_before_it(
    store: Store,
) -> None:
    standings = Standings(store)
    line = ScoreLine(
        grouping="source",
        name="remote",
        count=50,
        effective_size=20.0,
        accuracy=0.5,
        baseline_accuracy=0.6,
        brier=0.26,
        baseline_brier=0.25,
        coverage_of_80_band=0.8,
    )
    before = SESSION - dt.timedelta(days=1)
    standings.put(before, [line], [a_standing(is_demoted=False, bad=2)])
    for _ in range(2):
        standings.put(SESSION, [line], [a_standing(is_demoted=True)])

    assert standings.newest()[ForecastSource.REMOTE].is_demoted
    assert standings.newest(before=SESSION)[ForecastSource.REMOTE].bad == 2
    with Reader(store.directory) as reader:
        scores, history, status = reader.scores(), reader.score_history(), reader.status()
    assert scores["session_date"] == SESSION.isoformat()
    assert scores["groups"]["source"][0]["brier_skill"] == pytest.approx(-0.04)
    assert scores["standings"][0]["is_demoted"] is True
    assert [row["session_date"] for row in history] == [before.isoformat(), SESSION.isoformat()]
    assert status["demoted_sources"] == {"remote": "Brier skill -3.0%"}


def test_what_matured_is_listed_by_the_session_that_scored_it(
    store: Store, record: TrackRecord
) -> None:
    record.lock([a_locked(1, symbol=KO), a_locked(2)])
    record.settle([a_scored(1)], session_date=SESSION)
    record.settle([a_scored(2, outcome=-0.03)], session_date=SESSION + dt.timedelta(days=1))

    with Reader(store.directory) as reader:
        (first,) = reader.matured(SESSION)
        (newest,) = reader.matured()
        assert reader.matured(dt.date(2020, 1, 2)) == []
    with Figures(store.directory) as figures:
        assert figures.accuracy() == {"remote": (2, 1, 1)}

    assert (first["symbol"], first["was_right"], first["matured_on"]) == ("KO", True, "2022-12-14")
    assert (newest["symbol"], newest["was_right"], newest["confidence"]) == ("AAPL", False, 0.62)


def test_a_state_without_forecasts_has_empty_scores(store: Store) -> None:
    with Reader(store.directory) as reader:
        scores = reader.scores()
        assert reader.matured() == []

    assert (scores["session_date"], scores["locked"], scores["matured"]) == (None, 0, 0)
    assert set(scores["groups"]) == {"source", "model", "confidence", "symbol"}
