"""Money that comes or goes between two answers of one look at the account."""

import asyncio
from decimal import Decimal

from domain.account import ActivityKind
from tests.simulation.lives import Lives
from tests.simulation.world import World

# Seconds after which nobody has looked.
_PATIENCE = 3600.0
_NAME = "money.in_a_look"


class Deposits:
    """Waits for a look, and moves money in the middle of it.

    Afterwards the stream may break, so that another comparison than the watch's hears of it
    first, and the orders may stay away, so that the watch's next one fails.
    """

    def __init__(self, world: World, lives: Lives) -> None:
        self._world = world
        self._lives = lives

    async def move(self) -> None:
        """Move it in the next look, whoever looks."""
        truth, faults = self._world.truth, self._world.faults
        amount = Decimal(faults.pick(_NAME, [7_500, 7_500, -7_500]))
        moment = faults.pick(f"{_NAME}:when", ["account", "account", "positions"])
        is_moved = asyncio.Event()

        def answer(what: str) -> None:
            if what == moment and not is_moved.is_set():
                is_moved.set()
                if faults.is_on:
                    truth.pay(ActivityKind.TRANSFER, amount)

        truth.before_answer = answer
        try:
            async with asyncio.timeout(_PATIENCE):
                await is_moved.wait()
        except TimeoutError:
            is_moved.set()
            return
        look = self._world.machine.look_seconds
        if self._lives.life is not None and faults.dice(f"{_NAME}:stream").random() < 0.7:
            self._lives.life.stream.drop()
        await asyncio.sleep(look * faults.dice(f"{_NAME}:away").random())
        lasting = truth.lasting
        if not lasting.away and faults.is_on:
            lasting.away = "orders"
            await asyncio.sleep(look)
            lasting.away = ""
