"""A whole day on vendors outside: bars and news from Alpaca's API, sentiment from Workers AI."""

import asyncio
import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from brokers.paper_server import Keys
from daemon.app import run_daemon
from daemon.config import Config
from daemon.lifecycle import Ending
from daemon.sources.bar_feed import open_bar_feed
from daemon.sources.market_feed import open_board
from domain.clock import LoopClock, sleep_until
from domain.errors import ProviderRefused
from domain.ids import Symbol
from marketdata.fetch import fetch
from marketdata.recording import recording
from marketdata.session_calendar import NyseCalendar, trading_date
from state.reader import Reader
from tests.support.feed_server import feed_server, say
from tests.support.scripted_server import reset
from tests.support.vendor_day import (
    ENVIRON,
    START,
    SYMBOLS,
    VendorDay,
    on_replay_loop,
    story,
    vendor_day,
)
from tests.support.workers_ai import knows_canaries, llama, path

NEWS = (
    story(1, "Apple beats estimates", "AAPL"),
    story(2, "Apple raises guidance", "AAPL", source="ticker"),
    story(3, "Netflix shares plunge after warning", "NFLX"),
)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in ENVIRON.items():
        monkeypatch.setenv(name, text)


def opinion(text: str) -> float:
    return -0.8 if "Netflix" in text else 0.8


async def lived_until(day: VendorDay, config: Config, kind: str) -> Reader:
    """Live until a run is written down; the rest of the day is another test's."""
    stop = asyncio.Event()
    life = asyncio.create_task(run_daemon(config, stop=stop))
    while not finished(day, kind):
        await asyncio.sleep(300)
        assert not life.done(), life.result()
    stop.set()
    assert await life is Ending.STOPPED
    return Reader(day.directory / "state")


def finished(day: VendorDay, kind: str) -> list[dict[str, Any]]:
    if not (day.directory / "state" / "openbell.db").exists():
        return []
    with Reader(day.directory / "state") as reader:
        return [run for run in reader.runs() if run["kind"] == kind and run["finished_at"]]


def test_bars_news_and_sentiment_of_vendors_reach_the_decision(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path, *NEWS) as day:
            day.cloudflare.on("POST", path(), llama(knows_canaries(opinion)))
            with await lived_until(day, day.config(), "premarket") as reader:
                (run,) = finished(day, "premarket")
                assert (run["state"], run["reason"].split(",")[0]) == ("DONE", "6 symbols judged")
                found = {row["symbol"]: row for row in reader.sentiment()}
                assert {symbol: row["source"] for symbol, row in found.items()} == {
                    "AAPL": "cloudflare",
                    "NFLX": "cloudflare",
                }
                # Two sources agree, but one session moves a symbol by 0.5 at most.
                assert (found["AAPL"]["score"], found["AAPL"]["label"]) == (0.5, "BULLISH")
                assert found["NFLX"]["score"] == pytest.approx(-0.2)
                assert found["NFLX"]["label"] == "BEARISH"
                tilts = {row["symbol"]: row["sentiment_tilt"] for row in reader.signals()}
                assert set(tilts) == set(SYMBOLS)
                assert tilts["AAPL"] != 1
                assert all(0.8 <= tilt <= 1.2 for tilt in tilts.values())
                assert reader.status()["breakers"]["sentiment"] == "closed"
                told = reader.decision(Symbol("AAPL"))
                assert told is not None
                assert [one["headline"] for one in told["decision"]["headlines"]] == [
                    "Apple beats estimates",
                    "Apple raises guidance",
                ]

    on_replay_loop(main())


def test_s11_a_dead_scorer_and_a_dead_feed_cost_quality_and_not_the_run(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path, *NEWS) as day:
            day.cloudflare.on("POST", path(), reset)
            config = day.config(
                OPENBELL__NEWS__PROVIDER="alpaca+rss",
                OPENBELL__NEWS__RSS_URLS='["http://127.0.0.1:9/{symbol}.xml"]',
            )
            with await lived_until(day, config, "premarket") as reader:
                assert [run["state"] for run in finished(day, "premarket")] == ["DONE"]
                assert {row["source"] for row in reader.sentiment()} == {"lexicon"}
                assert reader.status()["breakers"]["sentiment"] == "open"
                assert len(reader.forecasts()) == len(SYMBOLS)

    on_replay_loop(main())


async def fetched(config: Config) -> None:
    """Fill the store as `openbell fetch` does."""
    clock, calendar = LoopClock(START, asyncio.get_running_loop()), NyseCalendar()
    start = START.date() - dt.timedelta(days=850)
    async with open_bar_feed(
        config, clock=clock, calendar=calendar, time_scale=1.0, is_strict=True
    ) as feed:
        symbols = [Symbol(name) for name in SYMBOLS]
        done = await fetch(feed.bars, symbols, start, clock=clock, calendar=calendar)
    assert {one.problem for one in done} == {""}


NOBODY = {"OPENBELL__MARKETDATA__ALPACA__DATA_URL": "http://127.0.0.1:9"}


def test_g12_stored_bars_stand_in_for_a_vendor_that_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path, *NEWS) as day:
            await fetched(day.config())
            with await lived_until(day, day.config(**NOBODY), "premarket") as reader:
                assert [run["state"] for run in finished(day, "premarket")] == ["DONE"]
                assert len(reader.forecasts()) == len(SYMBOLS)
                assert reader.sentiment() == []

    on_replay_loop(main())


def test_news_heard_live_stand_in_for_an_archive_that_is_gone(tmp_path: Path) -> None:
    live = dataclasses.replace(
        story(4, "Apple raises guidance", "AAPL"), published_at=START + dt.timedelta(minutes=30)
    )

    async def main() -> None:
        async with vendor_day(tmp_path, *NEWS, live) as day:
            await fetched(day.config())
            day.cloudflare.on("POST", path(), llama(knows_canaries(opinion)))
            config = day.config(
                OPENBELL__NEWS__STREAM="true",
                OPENBELL__NEWS__STREAM_URL=day.alpaca.news_stream_url,
                **NOBODY,
            )
            with await lived_until(day, config, "premarket") as reader:
                assert [run["state"] for run in finished(day, "premarket")] == ["DONE"]
                # The stream replays nothing: the stories of the night are not among them.
                (score,) = reader.sentiment()
                assert (score["symbol"], score["headlines"]) == ("AAPL", 1)

    on_replay_loop(main())


def test_without_any_bars_the_run_fails_by_name_and_the_daemon_lives_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            with await lived_until(day, day.config(**NOBODY), "premarket") as reader:
                (run,) = finished(day, "premarket")
                assert run["state"] == "FAILED"
                assert "127.0.0.1" in run["reason"]
                assert reader.status()["trading_state"] == "ACTIVE"

    on_replay_loop(main())


def test_nothing_is_opened_into_an_earnings_report(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            events = tmp_path / "events.csv"
            events.write_text("symbol,date,kind\nAAPL,2022-11-14,earnings\n", encoding="utf-8")
            config = day.config(OPENBELL__MARKETDATA__EVENTS_FILE=str(events))
            with await lived_until(day, config, "submit") as reader:
                states = {row["symbol"]: row["state"].lower() for row in reader.orders()}
                (denied,) = [symbol for symbol, state in states.items() if state == "denied"]
                assert denied == "AAPL"
                assert len(states) > 1

    on_replay_loop(main())


async def test_wrong_data_keys_stop_the_daemon_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with vendor_day(tmp_path) as day:
        config = day.config(
            OPENBELL__BROKER__KIND="embedded", OPENBELL__CLOCK__START=START.isoformat()
        )
        monkeypatch.setenv("APCA_API_SECRET_KEY", "wrong")

        with pytest.raises(ProviderRefused, match="check APCA_API_KEY_ID"):
            await run_daemon(config, sessions=1)


def own_bars(directory: Path, **factors: float) -> Path:
    """Write the recorded closes as files, one symbol's last close times its factor."""
    files = directory / "own"
    files.mkdir()
    first, last = START.date() - dt.timedelta(days=60), START.date() - dt.timedelta(days=1)
    for name in SYMBOLS:
        bars = recording().bars(Symbol(name), first, last)
        lines = ["date,close"]
        for bar in bars:
            factor = factors.get(name, 1.0) if bar is bars[-1] else 1.0
            lines.append(f"{trading_date(bar.at)},{bar.close * factor!r}")
        (files / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    return files


def test_g06_what_two_sources_disagree_on_sits_out_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            config = day.config(
                OPENBELL__MARKETDATA__CROSS_CHECK="csv",
                OPENBELL__MARKETDATA__CSV__DIRECTORY=str(own_bars(tmp_path, NFLX=1.1)),
            )
            with await lived_until(day, config, "premarket") as reader:
                assert len(reader.forecasts()) == len(SYMBOLS) - 1
                told, fit = (reader.decision(Symbol(name)) for name in ("NFLX", "AAPL"))
                assert told is not None
                assert "quarantined: two sources disagree" in told["decision"]["excluded"]
                assert fit is not None
                assert fit["decision"]["excluded"] is None
                (left_out,) = reader.excluded(START.date())
                assert (left_out["symbol"], left_out["reason"][:11]) == ("NFLX", "quarantined")
                assert list(reader.status()["excluded_symbols"]) == ["NFLX"]

    on_replay_loop(main())


def test_g01_a_basket_with_too_many_holes_is_not_traded(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            files = own_bars(tmp_path, NFLX=1.1, NVDA=0.9)
            config = day.config(
                OPENBELL__MARKETDATA__CROSS_CHECK="csv",
                OPENBELL__MARKETDATA__CSV__DIRECTORY=str(files),
            )
            with await lived_until(day, config, "submit") as reader:
                for kind in ("premarket", "submit"):
                    (run,) = finished(day, kind)
                    assert run["state"] == "SKIPPED"
                    assert "4 of 6 symbols have usable bars, 80% are needed" in run["reason"]
                    assert "NFLX: quarantined" in run["reason"]
                assert reader.orders() == []
                # What was seen is stored all the same, for explain.
                assert reader.decision(Symbol("NFLX")) is not None

    on_replay_loop(main())


HALTED = {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rm": "News pending", "t": START}


def test_g07_nothing_is_opened_in_a_halted_symbol(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day, feed_server() as feed:
            feed.accepts = ENVIRON["APCA_API_KEY_ID"]
            feed.acts = [say([HALTED])]
            config = day.config(
                OPENBELL__MARKETDATA__STREAM="true",
                OPENBELL__MARKETDATA__ALPACA__DATA_STREAM_URL=f"ws://127.0.0.1:{feed.port}/v2/iex",
            )
            with await lived_until(day, config, "submit") as reader:
                denied = {
                    row["symbol"]: row["state_reason"]
                    for row in reader.orders()
                    if row["state"].lower() == "denied"
                }
                assert list(denied) == ["AAPL"]
                assert len(reader.orders()) > 1

    on_replay_loop(main())


def test_the_paper_servers_stream_fills_the_board_minute_by_minute(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            config = day.config(
                OPENBELL__MARKETDATA__STREAM="true",
                OPENBELL__MARKETDATA__ALPACA__DATA_STREAM_URL=(
                    f"{day.alpaca.data_url.replace('http', 'ws')}/v2/iex"
                ),
            )
            clock, calendar = LoopClock(START, asyncio.get_running_loop()), NyseCalendar()
            async with open_board(config, clock=clock, calendar=calendar, time_scale=1.0) as board:
                assert board is not None
                session = calendar.next_session(START)
                await sleep_until(clock, session.open + dt.timedelta(minutes=30, seconds=30))
                aapl = Symbol("AAPL")
                assert board.is_connected
                assert len(board.minute_bars(aapl)) > 0
                quote, trade = board.quote(aapl), board.trade(aapl)
                assert quote is not None
                assert trade is not None
                assert abs(trade.price / board.minute_bars(aapl)[-1].close - 1) < 0.1
                assert board.doubts() == {}

    on_replay_loop(main())


def test_g08_nothing_is_opened_in_a_symbol_that_a_merger_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            events = tmp_path / "events.csv"
            events.write_text("symbol,date,kind\nAAPL,2022-11-25,merger\n", encoding="utf-8")
            config = day.config(OPENBELL__MARKETDATA__EVENTS_FILE=str(events))
            with await lived_until(day, config, "submit") as reader:
                denied = {
                    row["symbol"]: [check["limit"] for check in row["checks"]]
                    for row in reader.denied(START.date())
                }
                assert denied == {"AAPL": ["open_to_entries"]}

    on_replay_loop(main())


def test_n07_a_key_rotated_at_the_broker_halts_and_the_new_one_reads_with_the_latch_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = [ENVIRON["APCA_API_SECRET_KEY"]]
    monkeypatch.setattr(Keys, "match", lambda _keys, _id, secret: secret == valid[0])

    async def main() -> None:
        async with vendor_day(tmp_path) as day:
            clock = LoopClock(START, asyncio.get_running_loop())
            stop = asyncio.Event()
            life = asyncio.create_task(run_daemon(day.config(), stop=stop))
            await sleep_until(clock, START + dt.timedelta(hours=2, minutes=25))
            valid[0] = "rotated"
            await sleep_until(clock, START + dt.timedelta(hours=2, minutes=40))
            stop.set()
            await life
            with Reader(tmp_path / "state") as reader:
                before, orders = reader.status()["reconciled_at"], len(reader.orders())

            monkeypatch.setenv("APCA_API_SECRET_KEY", valid[0])
            with await lived_until(day, day.config(), "cutoff") as reader:
                assert reader.status()["reconciled_at"] > before
                assert reader.status()["kill"]["engaged"] is True
                assert "auth" in reader.status()["kill"]["reason"]
                assert len(reader.orders()) == orders > 0

    on_replay_loop(main())
