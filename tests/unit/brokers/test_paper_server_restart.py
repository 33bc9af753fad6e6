"""The account outlives the server's process, to the last event that anybody heard of."""

import asyncio
import datetime as dt
import os
import stat
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from brokers.exchange.codec import decode_event, encode_event
from brokers.exchange.settings import ExchangeSettings
from brokers.paper_server import PaperServer, ServerOptions
from brokers.paper_server.journal import JOURNAL_NAME, Journal
from domain.clock import LoopClock
from domain.errors import ConfigError, DataError, StateError, StorageError
from tests.support.exchange_world import Market, calendar, feed, moment, ticket
from transport.replay_loop import ReplayLoop

Case = Callable[[], Coroutine[Any, Any, None]]


def run(case: Case) -> None:
    with asyncio.Runner(loop_factory=ReplayLoop) as runner:
        runner.run(case())


def server(directory: Path, start: str = "10:00", **options: Any) -> PaperServer:
    return PaperServer(
        directory,
        feed=feed(),
        calendar=calendar(),
        clock=LoopClock(moment(start), asyncio.get_running_loop()),
        settings=ExchangeSettings(partial_fraction=0.0),
        options=ServerOptions(**options),
    )


def test_orders_positions_and_cash_survive_a_restart(tmp_path: Path) -> None:
    async def case() -> None:
        async with server(tmp_path) as first:
            first.exchange.submit(ticket(client_order_id="filled"), first.venue.now())
            first.exchange.submit(ticket(limit="90", client_order_id="working"), first.venue.now())
            first.venue.commit()
            await asyncio.sleep(5)
            book = first.exchange.book
        async with server(tmp_path) as second:
            assert second.exchange.book.orders == book.orders
            assert second.exchange.book.holdings == book.holdings
            assert second.exchange.book.cash == book.cash
            assert [o.client_order_id for o in second.exchange.book.open_orders.values()] == [
                "working"
            ]

    run(case)


def test_restored_account_goes_on_from_its_last_time(tmp_path: Path) -> None:
    async def case() -> None:
        async with server(tmp_path, "10:00") as first:
            await asyncio.sleep(3 * 3600)
            reached = first.venue.now()
        async with server(tmp_path, "10:00") as second:
            assert second.last_time >= reached
            assert second.venue.now() >= reached

    run(case)


def test_killed_server_forgets_nothing_that_was_answered(tmp_path: Path) -> None:
    async def case() -> None:
        first = server(tmp_path)
        first.exchange.submit(ticket(client_order_id="answered"), first.venue.now())
        first.venue.commit()
        # No close, no mark of the time: what a SIGKILL leaves behind.
        first._journal.close()
        async with server(tmp_path) as second:
            await asyncio.sleep(1)
            found = second.exchange.book.find("answered")
            assert found is not None
            assert found.status == "filled"

    run(case)


def test_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    market = Market("10:00")
    market.order("buy", "1", client_order_id="whole")
    journal = Journal(tmp_path)
    journal.append(market.exchange.take_events())
    journal.close()
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes() + b'{"type":"OrderCh')

    again = Journal(tmp_path)

    assert len(again.history) == 2
    again.append([again.history[0]])
    again.close()
    assert len(Journal(tmp_path).history) == 3


def test_damaged_journal_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_text('{"type":"Nonsense"}\n')

    with pytest.raises(StateError, match=JOURNAL_NAME):
        Journal(tmp_path)


def test_second_server_on_the_same_account_is_refused(tmp_path: Path) -> None:
    first = Journal(tmp_path)

    with pytest.raises(StateError, match="in use by another paper server"):
        Journal(tmp_path)
    first.close()


def test_disk_that_refuses_the_journal_stops_the_answer(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    events = Market("10:00").exchange.take_events()
    journal.close()

    with pytest.raises(StorageError, match="could not be written"):
        journal.append(events)


def test_taken_port_is_named(tmp_path: Path) -> None:
    async def case() -> None:
        async with server(tmp_path / "a") as first:
            with pytest.raises(ConfigError, match=str(first.port)):
                async with server(tmp_path / "b", port=first.port):
                    pass

    run(case)


def test_server_listens_on_loopback_only(tmp_path: Path) -> None:
    async def case() -> None:
        async with server(tmp_path) as paper:
            assert paper.base_url.startswith("http://127.0.0.1:")
            headers = {
                "APCA-API-KEY-ID": paper.keys.key_id,
                "APCA-API-SECRET-KEY": paper.keys.secret_key,
            }
            async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
                assert (await client.get(f"{paper.base_url}/v2/clock")).status_code == 200
                assert (await client.get(f"{paper.base_url}/v2/nothing")).status_code == 404

    run(case)


def test_rate_limit_is_counted_by_the_minute_of_the_venue(tmp_path: Path) -> None:
    async def case() -> None:
        async with server(tmp_path, requests_per_minute=3) as paper:
            headers = {
                "APCA-API-KEY-ID": paper.keys.key_id,
                "APCA-API-SECRET-KEY": paper.keys.secret_key,
            }
            async with httpx.AsyncClient(
                base_url=paper.base_url, headers=headers, trust_env=False
            ) as client:
                answers = [await client.get("/v2/clock") for _ in range(4)]
                assert [one.status_code for one in answers] == [200, 200, 200, 429]
                assert [one.headers["x-ratelimit-remaining"] for one in answers] == [
                    "2", "1", "0", "0",
                ]  # fmt: skip
                await asyncio.sleep(60)
                assert (await client.get("/v2/clock")).status_code == 200

    run(case)


def test_idle_server_costs_no_steps_of_simulated_time(tmp_path: Path) -> None:
    async def case() -> None:
        loop = asyncio.get_running_loop()
        async with server(tmp_path, "10:00"):
            before = loop.steps  # type: ignore[attr-defined]
            await asyncio.sleep(24 * 3600)
            # The close of the day, and the end of the nap.
            assert loop.steps - before <= 4  # type: ignore[attr-defined]

    run(case)


def test_every_event_reads_back_as_it_was_written() -> None:
    market = Market("08:30", partial_fraction=1.0)
    market.order("buy", "10", order_class="bracket", take_profit="102.50", stop_loss="95")
    market.order("buy", None, notional="33.33")
    market.at("17:00")
    market.exchange.configure(market.now, is_suspended=True)
    market.exchange.split(ticket().symbol, Decimal(2), market.now)
    market.exchange.mark_time(market.now + dt.timedelta(microseconds=1))

    events = market.exchange.take_events()

    assert len({type(event) for event in events}) == 6
    assert [decode_event(encode_event(event)) for event in events] == events


def test_line_that_is_no_event_is_refused() -> None:
    with pytest.raises(DataError, match="not an event"):
        decode_event("[]")


def test_events_that_the_disk_refused_are_written_before_any_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def case() -> None:
        paper = server(tmp_path)
        with monkeypatch.context() as broken:
            broken.setattr("os.fdatasync", refuse)
            paper.exchange.submit(ticket(client_order_id="first"), paper.venue.now())
            with pytest.raises(StorageError):
                paper.venue.commit()
        paper.exchange.submit(ticket(client_order_id="second"), paper.venue.now())
        paper.venue.commit()
        paper._journal.close()
        async with server(tmp_path) as again:
            assert sorted(again.exchange.book.ids_by_client_id) == ["first", "second"]

    def refuse(_: int) -> None:
        raise OSError("disk full")

    run(case)


def test_market_goes_on_by_itself_when_the_disk_takes_its_events_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError("disk full")

    async def case() -> None:
        heard: list[str] = []
        async with server(tmp_path) as paper:
            paper.venue.listen(lambda events, _: heard.extend(type(e).__name__ for e in events))
            with monkeypatch.context() as broken:
                broken.setattr("os.fdatasync", refuse)
                # The close falls into the time without a disk, and nobody asks anything.
                await asyncio.sleep((moment("16:05") - moment("10:00")).total_seconds())
                assert heard == []
            await asyncio.sleep(60)
            assert heard == ["DayClosed"]

    run(case)


def test_every_folder_that_the_journal_makes_is_private(tmp_path: Path) -> None:
    # With the common umask the one above was everybody's to read.
    before = os.umask(0o022)
    try:
        Journal(tmp_path / "var" / "paper")
    finally:
        os.umask(before)

    for folder in (tmp_path / "var", tmp_path / "var" / "paper"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
