"""A holding with a protective stop, half an hour into the session, and looks at it."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

from daemon.session.monitor import Judged
from daemon.session.stops import Stops
from domain.ids import Symbol
from domain.market import Session
from domain.orders import BrokerOrder, Side
from domain.trading_state import TradingState
from marketdata.board import MarketBoard
from risk.drawdown import RiskAssessment
from risk.settings import RiskLimits
from tests.support.order_scene import SESSION, Scene, request
from tests.support.virtual_time import OPENING

AAPL = Symbol("AAPL")
TODAY = Session(
    date=SESSION, open=OPENING, close=OPENING + dt.timedelta(hours=6.5), is_half_day=False
)
LIMITS = RiskLimits(stop_loss_pct=Decimal(10))


async def holding(directory: Path) -> Scene:
    """Ten AAPL bought at 100, half an hour into the session, both books agreeing."""
    scene = Scene(directory)
    await scene.send(request())
    scene.broker.fill(scene.broker.order(request().client_order_id), 10, "100")
    scene.merge_stream()
    await scene.clock.sleep(1800)
    await scene.reconciler.run("periodic")
    return scene


async def look(
    scene: Scene,
    times: int = 1,
    *,
    limits: RiskLimits = LIMITS,
    board: MarketBoard | None = None,
) -> None:
    stops = Stops(scene.desk, scene.path, limits, board=board)
    for _ in range(times):
        account = await scene.broker.account()
        judged = Judged(account=account, at=scene.clock.now(), assessment=calm())
        await stops.look(TODAY, judged)
        await scene.clock.sleep(30)


def calm() -> RiskAssessment:
    return RiskAssessment(
        trading_state=TradingState.ACTIVE,
        should_engage_latch=False,
        daily_pnl=Decimal(0),
        daily_loss_pct=Decimal(0),
        drawdown_pct=Decimal(0),
        reasons=(),
    )


def sales(scene: Scene) -> list[BrokerOrder]:
    return [order for order in scene.broker.working() if order.side is Side.SELL]


async def look_on(scene: Scene, limits: RiskLimits, *, times: int) -> None:
    """Let one process look, each time when what it sent before is late."""
    stops = Stops(scene.desk, scene.path, limits)
    for _ in range(times):
        account = await scene.broker.account()
        judged = Judged(account=account, at=scene.clock.now(), assessment=calm())
        await stops.look(TODAY, judged)
        await scene.clock.sleep(61)
