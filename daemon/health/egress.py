"""The end of a process whose order path is broken: latch, incident, exit.

Nothing here can be caught: what passed every check of ours and is wrong all the same is a
bug, and a process with that bug must not live on.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import structlog

from brokers.alpaca_egress import EgressBounds, EgressCounter
from daemon.command_line import EXIT_FAILED
from daemon.config import Config, state_directory
from domain.clock import Clock
from domain.errors import OpenbellError
from state.latch import Latch
from state.latch_record import KillAction

KIND = "egress.broken"


@dataclass(slots=True, kw_only=True)
class Egress:
    """The counter of one connection; ``note`` stores an incident once there is a store."""

    directory: Path
    clock: Clock
    bounds: EgressBounds
    note: Callable[[str, str], None] | None = None
    counter: EgressCounter = field(init=False)

    def __post_init__(self) -> None:
        """Build the counter."""
        latch = Latch(self.directory)
        self.counter = EgressCounter(
            self.bounds,
            is_latched=lambda: latch.read().is_engaged,
            clock=self.clock,
            abort=self.abort,
        )

    def abort(self, reason: str) -> NoReturn:
        """Engage the latch, leave word, and end this process without running anything more."""
        text = f"{reason}: this process is broken and ends here; report it before you resume"
        with contextlib.suppress(OpenbellError, OSError):
            # Pending: the next start, or `openbell kill`, cancels whatever works.
            Latch(self.directory).engage(
                f"egress: {reason}",
                self.clock.now(),
                pending=KillAction.CANCEL,
                is_asked=False,
            )
        structlog.get_logger("egress").critical(KIND, text=text)
        if self.note is not None:
            with contextlib.suppress(Exception):
                self.note(KIND, text)
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(EXIT_FAILED)


def egress_of(config: Config, clock: Clock) -> Egress:
    """Return the counter with the bounds of a configuration."""
    return Egress(
        directory=state_directory(config),
        clock=clock,
        bounds=EgressBounds(orders_per_day=config.risk.max_orders_per_day),
    )
