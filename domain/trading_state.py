"""May we trade?  Three answers; the strictest of all voices wins."""

from enum import StrEnum, unique


@unique
class TradingState(StrEnum):
    """ACTIVE trades freely, REDUCING only lowers exposure, HALTED sends no order."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


def strictest(*states: TradingState) -> TradingState:
    """Return the strictest of the states; ACTIVE when there is none."""
    return max(states, key=_STRICTNESS.__getitem__, default=TradingState.ACTIVE)
