"""Protective stops by prices that are heard live: which are believed, and what is told."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from daemon.session.monitor import Judged
from daemon.session.stops import Stops
from domain.ids import Symbol
from domain.market import Bar
from marketdata.board import MarketBoard
from marketdata.session_calendar import NyseCalendar
from marketdata.ticks import MinuteBar, Quote, Trade, TradeTakenBack, TradingStatus
from tests.support.order_scene import Scene
from tests.support.stop_scene import AAPL, LIMITS, TODAY, calm, holding, look, sales
from tests.support.virtual_time import virtual


class NoMinutes:
    """An archive that nobody asks."""

    async def minute_bars(
        self, symbols: Iterable[Symbol], start: dt.datetime, end: dt.datetime, *, minutes: int
    ) -> Mapping[Symbol, Sequence[Bar]]:
        return {}


def board_of(scene: Scene) -> MarketBoard:
    return MarketBoard(NoMinutes(), clock=scene.clock, calendar=NyseCalendar())


def trade(scene: Scene, price: float) -> Trade:
    return Trade(symbol=AAPL, at=scene.clock.now(), price=price, size=1, number=7)


def quote(scene: Scene, bid: float, ask: float) -> Quote:
    at = scene.clock.now()
    return Quote(symbol=AAPL, at=at, bid=bid, ask=ask, bid_size=1, ask_size=1)


@virtual
async def test_a_price_heard_live_comes_before_the_one_that_the_broker_keeps(
    tmp_path: Path,
) -> None:
    scene = await holding(tmp_path)
    board = board_of(scene)
    board.take(trade(scene, 89.0))

    await look(scene, board=board)

    assert [order.limit_price for order in sales(scene)] == [Decimal("84.55")]


@virtual
async def test_a_trade_that_the_exchange_took_back_moves_no_stop(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    board = board_of(scene)
    board.take(trade(scene, 89.0))
    board.take(TradeTakenBack(symbol=AAPL, number=7))

    await look(scene, board=board)

    assert sales(scene) == []


@virtual
async def test_a_live_price_older_than_a_minute_is_not_believed(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    board = board_of(scene)
    board.take(trade(scene, 89.0))
    await scene.clock.sleep(61)

    await look(scene, board=board)

    assert sales(scene) == []


@virtual
async def test_a_halted_symbol_is_left_alone(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    board = board_of(scene)
    halted = TradingStatus(symbol=AAPL, at=scene.clock.now(), is_halted=True, reason="news pending")
    board.take(halted)
    scene.broker.prices[AAPL] = Decimal(80)

    await look(scene, times=3, board=board)

    assert sales(scene) == []
    assert scene.alert_kinds()["stop.doubtful"] == 1


@virtual
async def test_a_spike_of_a_minute_that_keeps_its_stop_away_is_told(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    board = board_of(scene)
    for ago, close in ((2, 100.0), (1, 55.0)):
        at = scene.clock.now() - dt.timedelta(minutes=ago)
        bar = Bar(symbol=AAPL, at=at, close=close, open=close, high=close, low=close, volume=1)
        board.take(MinuteBar(bar=bar, is_correction=False))
    scene.broker.prices[AAPL] = Decimal(89)

    await look(scene, times=3, board=board)

    assert sales(scene) == []
    assert scene.alert_kinds()["stop.doubtful"] == 1


@virtual
async def test_a_doubt_of_a_moment_is_not_told_and_the_stop_sells_after_it(tmp_path: Path) -> None:
    scene = await holding(tmp_path)
    board = board_of(scene)
    stops, crossed = Stops(scene.desk, scene.path, LIMITS, board=board), quote(scene, 90, 89)
    scene.broker.prices[AAPL] = Decimal(89)
    for told in (crossed, quote(scene, 88, 89)):
        board.take(told)
        judged = Judged(
            account=await scene.broker.account(), at=scene.clock.now(), assessment=calm()
        )
        await stops.look(TODAY, judged)
        await scene.clock.sleep(30)

    assert len(sales(scene)) == 1
    assert scene.alert_kinds()["stop.doubtful"] == 0
