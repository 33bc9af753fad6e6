"""What some facts say, for those who write and those who read them."""

from typing import Final

AGREES: Final = "agrees"
"""What ``market_check`` is where calendar and clock are the broker's; else it is the doubt."""

STOPPED: Final = "stopped"
"""What ``session_phase`` is when a daemon ended in order."""
