"""What the daemon does after the close: its report, its backup, and what goes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import state.backup
from daemon.after_close import reporting
from daemon.after_close.nightly import NightJob, Nightly
from daemon.config import RetentionConfig
from daemon.schedule import RunKind
from domain.errors import StorageError
from marketdata.base import SessionCalendar
from reports.model import EndOfDayReport, RollUp, Yardsticks
from reports.write import write
from state.store import Store
from tests.simulation.loop import SimClock

_YARDSTICKS = Yardsticks(
    slippage_bps=Decimal(1),
    gpu_daily_budget_usd=Decimal(5),
    monthly_budget_usd=Decimal(50),
    max_drawdown_pct=Decimal(5),
    max_daily_loss_pct=Decimal(2),
)
# So few that a week prunes some.
BACKUPS = 2


def reporter_of(
    store: Store,
    calendar: SessionCalendar,
    clock: SimClock,
    seen: Callable[[EndOfDayReport], None],
) -> reporting.Reporter:
    """Return what makes the reports; ``seen`` gets each that was made and written."""

    async def deliver(made: Sequence[EndOfDayReport | RollUp]) -> None:
        for report in made:
            if isinstance(report, EndOfDayReport):
                seen(report)

    return reporting.Reporter(
        store,
        calendar=calendar,
        clock=clock,
        yardsticks=_YARDSTICKS,
        deliver=deliver,
    )


def night_of(store: Store, clock: SimClock) -> Mapping[RunKind, NightJob]:
    """Return the jobs of the night."""
    return Nightly(store, retention=RetentionConfig(backups=BACKUPS), clock=clock).jobs()


@contextmanager
def shims(check: Callable[[str], Any]) -> Iterator[None]:
    """Leave the drawing of reports out, and let a copy of the database meet the disk."""
    plain = state.backup._copy

    def copy(path: Path, target: Path) -> None:
        if (trouble := check("copy")) is not None:
            raise trouble.of_sqlite()
        plain(path, target)

    def write_one(state: Path, report: EndOfDayReport | RollUp) -> tuple[Path, ...]:
        if (trouble := check("report")) is not None:
            raise StorageError("the report could not be written") from trouble.of_system()
        return write(state, report, formats=("json",))

    with (
        mock.patch.object(reporting, "write", write_one),
        mock.patch.object(state.backup, "_copy", copy),
    ):
        yield
