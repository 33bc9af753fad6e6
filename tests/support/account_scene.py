"""An account under watch: an order scene, the monitor of the daemon, and a session."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

from daemon.session.monitor import Judged, Monitor
from domain.market import Session
from domain.trading_state import TradingState
from risk.settings import RiskLimits
from state.equity import EquityCurve
from state.risk_state import RiskState
from tests.support.order_scene import SESSION, Scene
from tests.support.virtual_time import OPENING

TODAY = Session(
    date=SESSION, open=OPENING, close=OPENING + dt.timedelta(hours=6.5), is_half_day=False
)


class Watched(Scene):
    """A scene whose account is judged as the daemon judges it."""

    def __init__(self, directory: Path, *, limits: RiskLimits | None = None) -> None:
        self.limits = limits or RiskLimits()
        super().__init__(directory)

    def start(self) -> None:
        """Open the stores, and build order path and monitor on them."""
        super().start()
        self.desk.trading_state = RiskState(self.store).trading_state
        self.monitor = Monitor(
            self.desk,
            risk_state=RiskState(self.store),
            curve=EquityCurve(self.store),
            limits=self.limits,
        )

    async def look(self, equity: str | None = None, *, after_seconds: float = 30) -> Judged:
        """Let time pass, and judge the account; an empty one holds only its cash.

        The first look compares, as the daemon's does: the books begin with the broker's cash.
        """
        await self.clock.sleep(after_seconds)
        if equity is not None:
            self.broker.cash = Decimal(equity)
        is_first = RiskState(self.store).high_water_mark() is None
        seen = await self.reconciler.run("start") if is_first else None
        return await self.monitor.check(TODAY, seen=seen)

    @property
    def standing(self) -> TradingState:
        """What an order would be told now."""
        return self.desk.effective_state()
