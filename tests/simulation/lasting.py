"""What is wrong at the broker for minutes or hours, rather than once."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.simulation.faults import Faults

PARTS = ("account", "positions", "orders", "activities", "clock", "calendar", "assets")
_ODD = (Decimal("NaN"), Decimal(0), Decimal(-1), Decimal("Infinity"))
# Class -> (field, its values, shortest and longest seconds).
LASTING: dict[str, tuple[str, tuple[Any, ...], tuple[float, float]]] = {
    "broker.keys_rotated": ("is_refusing_keys", (True,), (60, 9000)),
    "broker.part_down": ("away", PARTS, (60, 15_000)),
    "broker.slow": ("is_slow", (True,), (300, 10_000)),
    "broker.limiting": ("is_limiting", (True,), (30, 3000)),
    "broker.shows_nothing": ("is_showing_nothing", (True,), (60, 15_000)),
    "account.unusable": ("odd_equity", _ODD, (60, 15_000)),
}


@dataclass
class Lasting:
    """The state of the broker's doors; ``away`` names the kind of answer that stays away."""

    is_refusing_keys: bool = False
    away: str = ""
    is_slow: bool = False
    is_limiting: bool = False
    is_showing_nothing: bool = False
    odd_equity: Decimal | None = None


def happenings(
    faults: Faults, lasting: Callable[[], Lasting]
) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
    """Return what each class does, from its beginning to its end."""

    def happening(fault: str) -> Callable[[], Coroutine[Any, Any, None]]:
        field, values, (shortest, longest) = LASTING[fault]

        async def happen() -> None:
            setattr(lasting(), field, faults.pick(f"{fault}:what", list(values)))
            await asyncio.sleep(faults.span(f"{fault}:time", shortest, longest))
            setattr(lasting(), field, getattr(Lasting, field))

        return happen

    return {fault: happening(fault) for fault in LASTING}
