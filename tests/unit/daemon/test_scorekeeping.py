"""From a received forecast to its score and, when it keeps failing, to a demotion."""

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from daemon.after_close.scorekeeping import Scorekeeper, scored_first
from daemon.after_close.track_keeping import TrackKeeper
from daemon.config import TrackingConfig
from domain.clock import ManualClock
from domain.errors import ProviderUnavailable, StorageError
from domain.forecasts import Forecast, ForecastSource
from domain.ids import Symbol
from domain.market import Bar, Session
from marketdata.session_calendar import NyseCalendar
from state.figures import Figures
from state.reader import Reader
from state.standings import Standings
from state.store import Store

AAPL, KO = Symbol("AAPL"), Symbol("KO")
CALENDAR = NyseCalendar()
FIRST, LAST = dt.date(2022, 6, 1), dt.date(2022, 12, 30)
SESSIONS = tuple(CALENDAR.sessions(FIRST, LAST))
RULE = TrackingConfig(
    window_sessions=20,
    minimum_effective_size=5,
    bad_checks=2,
    good_checks=3,
    cool_down_checks=1,
)


def midnight(session: Session) -> dt.datetime:
    return (session.open - dt.timedelta(hours=9, minutes=30)).astimezone(dt.UTC)


def rising(symbol: Symbol) -> list[Bar]:
    """Prices that rise on four days of five, never by the same amount."""
    price, bars = 100.0, []
    for number, session in enumerate(SESSIONS):
        step = 0.011 if number % 5 else -0.02
        price *= math.exp(step + 0.0003 * math.sin(number + len(symbol)))
        bars.append(Bar(symbol=symbol, at=midnight(session), close=price))
    return bars


class Prices:
    """A bar source that shows complete sessions of made-up prices."""

    name = "made up"

    def __init__(self, clock: ManualClock) -> None:
        self.series = {symbol: rising(symbol) for symbol in (AAPL, KO)}
        self.clock = clock
        self.failure = ""

    async def daily_bars(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Mapping[Symbol, Sequence[Bar]]:
        if self.failure:
            raise ProviderUnavailable(self.failure)
        over = {s.date for s in SESSIONS if s.close <= self.clock.now() and start <= s.date <= end}
        found = {s: [bar for bar in self.series[s] if bar.at.date() in over] for s in symbols}
        return {symbol: bars for symbol, bars in found.items() if bars}


class Scene:
    """Days on which every symbol is forecast before the open and scored after the close."""

    def __init__(
        self,
        store: Store,
        clock: ManualClock,
        *,
        settled_after: int = 0,
        settings: TrackingConfig = RULE,
    ) -> None:
        self.store, self.clock = store, clock
        self.prices = Prices(clock)
        self.notes: list[str] = []
        self.keeper = TrackKeeper(
            store, clock=clock, base_rate=lambda source: 0.55, rule=settings.rule
        )
        self.scorekeeper = Scorekeeper(
            store,
            bars=self.prices,
            actions=None,
            calendar=CALENDAR,
            clock=clock,
            settings=settings,
            settled_after=dt.timedelta(minutes=settled_after),
            note=lambda kind, text: self.notes.append(f"{kind}: {text}"),
        )

    def forecast(self, number: int, chance: float, *, model: str = "lstm/1") -> None:
        """Lock a forecast of every symbol before the open of a session."""
        session = SESSIONS[number]
        self.clock.advance(session.open - dt.timedelta(hours=1) - self.clock.now())
        history = {symbol: bars[:number] for symbol, bars in self.prices.series.items()}
        found = {symbol: a_forecast(symbol, number, chance, model) for symbol in history}
        self.keeper.received(ForecastSource.REMOTE, found, history)

    async def close(self, number: int) -> None:
        """Do the end of a session."""
        session = SESSIONS[number]
        self.clock.advance(session.close + dt.timedelta(minutes=5) - self.clock.now())
        await self.scorekeeper.settle(session)

    async def live(self, numbers: range, chance: float, *, model: str = "lstm/1") -> None:
        for number in numbers:
            self.forecast(number, chance, model=model)
            await self.close(number)

    def shown(self) -> tuple[list[str], dict[str, int]]:
        """Return the demoted sources as the status and as the metrics tell them."""
        with Reader(self.store.directory) as reader, Figures(self.store.directory) as figures:
            return list(reader.status()["demoted_sources"]), dict(figures.demoted())

    def matured(self, number: int) -> list[tuple[str, str]]:
        with Reader(self.store.directory) as reader:
            found = reader.matured(SESSIONS[number].date)
        return [(row["symbol"], row["matured_on"]) for row in found]


def a_forecast(symbol: Symbol, number: int, chance: float, model: str) -> Forecast:
    return Forecast(
        symbol=symbol,
        as_of=SESSIONS[number].open - dt.timedelta(hours=1),
        horizon=1,
        levels=(0.1, 0.5, 0.9),
        quantiles=(-0.018, 0.002, 0.05),
        mean=0.002,
        volatility=0.02,
        probability_up=chance,
        source=ForecastSource.REMOTE,
        model=model,
        model_hash=model.ljust(64, "0"),
        data_cutoff=SESSIONS[number - 1].date,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(SESSIONS[5].open)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    opened = Store.open(tmp_path / "var", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def scene(store: Store, clock: ManualClock) -> Scene:
    return Scene(store, clock)


async def test_what_matures_today_is_scored_at_the_end_of_today(scene: Scene) -> None:
    scene.forecast(10, 0.6)
    await scene.close(10)

    today = SESSIONS[10].date.isoformat()
    assert scene.matured(10) == [("AAPL", today), ("KO", today)]
    with Reader(scene.store.directory) as reader:
        (row, _) = reader.matured()
    bars = scene.prices.series[AAPL]
    assert row["outcome"] == pytest.approx(math.log(bars[10].close / bars[9].close))


async def test_a_day_whose_bar_may_still_change_is_scored_the_session_after(
    store: Store, clock: ManualClock
) -> None:
    scene = Scene(store, clock, settled_after=30)
    scene.forecast(10, 0.6)
    await scene.close(10)
    assert scene.matured(10) == []

    await scene.close(11)

    due = SESSIONS[10].date.isoformat()
    assert scene.matured(11) == [("AAPL", due), ("KO", due)]


async def test_doing_the_end_of_a_day_again_changes_nothing(scene: Scene) -> None:
    await scene.live(range(10, 14), 0.6)
    rows = "SELECT * FROM forecast_outcomes", "SELECT * FROM forecast_standings"
    before = [[tuple(row) for row in scene.store.rows(sql)] for sql in rows]

    await scene.close(13)

    assert [[tuple(row) for row in scene.store.rows(sql)] for sql in rows] == before


async def test_a_silent_vendor_only_delays_the_score(scene: Scene) -> None:
    scene.forecast(10, 0.6)
    scene.prices.failure = "down"
    await scene.close(10)
    assert scene.matured(10) == []

    scene.prices.failure = ""
    await scene.close(11)

    assert len(scene.matured(11)) == 2


async def test_a_price_that_jumps_without_a_reason_is_no_outcome(scene: Scene) -> None:
    scene.forecast(10, 0.6)
    spoiled = scene.prices.series[AAPL]
    spoiled[10] = Bar(symbol=AAPL, at=spoiled[10].at, close=spoiled[10].close / 2)

    await scene.close(10)

    assert [symbol for symbol, _ in scene.matured(10)] == ["KO"]


async def test_a_forecast_that_was_changed_is_told_and_not_scored(scene: Scene) -> None:
    scene.forecast(10, 0.6)
    with scene.store.transaction() as connection:
        connection.execute("DROP TRIGGER locked_forecasts_never_change")
        connection.execute("UPDATE locked_forecasts SET probability_up = 0.99 WHERE number = 2")

    await scene.close(10)

    assert scene.matured(10) == []
    assert "locked forecast 2 was changed after it was locked" in scene.notes[0]


async def test_a_model_that_keeps_calling_the_wrong_way_is_demoted_and_can_come_back(
    scene: Scene,
) -> None:
    await scene.live(range(10, 40), 0.1)
    reason = scene.keeper.demotion(ForecastSource.REMOTE)
    assert reason is not None
    assert "beyond chance" in reason
    assert scene.keeper.demotion(ForecastSource.LOCAL) is None
    assert [note for note in scene.notes if note.startswith("forecast.demoted")] != []

    await scene.live(range(40, 80), 0.7)

    assert scene.keeper.demotion(ForecastSource.REMOTE) is None
    assert scene.notes[-1].startswith("forecast.restored: remote forecasts of lstm/1")
    assert len(scene.notes) == 2


async def test_a_demotion_outlives_the_process_and_ends_with_another_model(
    scene: Scene, clock: ManualClock
) -> None:
    await scene.live(range(10, 40), 0.1)
    directory = scene.store.directory
    scene.store.close()

    again = Scene(Store.open(directory, clock=clock), clock)
    assert again.keeper.demotion(ForecastSource.REMOTE) is not None
    await again.live(range(40, 41), 0.6, model="lstm/2")

    assert again.keeper.demotion(ForecastSource.REMOTE) is None
    assert Standings(again.store).newest()[ForecastSource.REMOTE].model == "lstm/2"
    again.store.close()


async def test_what_a_demoted_model_did_is_not_held_against_the_one_that_was_put_in_its_place(
    scene: Scene,
) -> None:
    await scene.live(range(10, 40), 0.1)
    scene.forecast(40, 0.6)
    assert scene.keeper.demotion(ForecastSource.REMOTE) is not None
    assert scene.shown() == (["remote"], {"remote": 1})

    scene.forecast(41, 0.6, model="lstm/2")

    assert scene.keeper.demotion(ForecastSource.REMOTE) is None
    assert scene.shown() == ([], {"remote": 0})


async def test_who_switches_the_rule_off_uses_the_source_at_once(
    scene: Scene, clock: ManualClock
) -> None:
    await scene.live(range(10, 40), 0.1)
    assert scene.keeper.demotion(ForecastSource.REMOTE) is not None

    without = Scene(scene.store, clock, settings=dataclasses.replace(RULE, rule="none"))

    assert without.keeper.demotion(ForecastSource.REMOTE) is None
    await without.live(range(40, 41), 0.1)
    assert without.shown() == ([], {"remote": 0})
    assert without.notes == ["forecast.restored: remote forecasts of lstm/1 are used again"]


async def test_an_honest_model_that_says_what_the_baseline_says_is_kept(scene: Scene) -> None:
    await scene.live(range(10, 60), 0.55)

    assert scene.keeper.demotion(ForecastSource.REMOTE) is None
    assert scene.notes == []


async def test_the_report_is_made_even_when_nothing_could_be_scored(scene: Scene) -> None:
    async def report(session: Session) -> str:
        return f"report of {session.date}"

    async def fails(session: Session) -> None:
        raise StorageError("the disk is full")

    scene.scorekeeper.settle = fails  # type: ignore[method-assign]
    both = scored_first(scene.scorekeeper, report, lambda kind, text: scene.notes.append(text))

    assert await both(SESSIONS[10]) == f"report of {SESSIONS[10].date}"
    assert scene.notes == ["the disk is full"]
