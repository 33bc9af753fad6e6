"""Tell people, through Apprise: at once, not twice the same, and never in trading's way."""

import asyncio
import contextlib
import datetime as dt
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from daemon.telemetry.alert_target import AlertTarget
from daemon.telemetry.hub import Hub, Notice, without_figures
from domain.clock import Clock
from domain.errors import ConfigError

if TYPE_CHECKING:
    from daemon.telemetry.metrics import Meters

# The same about the same symbol is told again only after this.
QUIET = dt.timedelta(minutes=15)
# A second run that fails is news; a kind that comes in ever other words must not flood.
_MOST_OF_A_KIND = 5
_MOST_KEYS = 500
# These are told each time: a second kill is not the first one's echo.
_ALWAYS = frozenset({"kill.engaged", "kill.unfinished", "trading_state.changed"})


class AlertSender:
    """Takes urgent notices from the hub and hands them to the targets of the configuration."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        hub: Hub,
        clock: Clock,
        time_scale: float,
        meters: "Meters | None",
    ) -> None:
        """Open the targets.

        Raises:
            ConfigError: Apprise is not installed, or does not know a target.
        """
        self._meters = meters
        self._targets = [
            AlertTarget(one, clock=clock, time_scale=time_scale, count=self._count)
            for one in open_targets(urls)
        ]
        self._told: OrderedDict[tuple[str, str | None], list[tuple[dt.datetime, str]]] = (
            OrderedDict()
        )
        hub.listen(self.hear)

    def hear(self, notice: Notice) -> None:
        """Queue an urgent notice for every target; never waits."""
        if not notice.is_urgent:
            return
        is_echo = notice.kind not in _ALWAYS and self._is_echo(notice)
        if is_echo:
            self._count("held_back")
        for target in self._targets:
            target.hold_back() if is_echo else target.put(notice)

    async def run(self) -> None:
        """Send what is queued until cancelled."""
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(target.run())

    async def farewell(self) -> None:
        """Send what still waits; for the end, after ``run``."""
        await asyncio.gather(*(target.farewell() for target in self._targets))

    def _is_echo(self, notice: Notice) -> bool:
        key, gist = (notice.kind, notice.symbol), without_figures(notice.text)
        # Told in what is the future now, by a clock that was put back since: that is no echo.
        recent = [
            one for one in self._told.get(key, []) if dt.timedelta() <= notice.at - one[0] < QUIET
        ]
        if len(recent) >= _MOST_OF_A_KIND or any(gist == told for _, told in recent):
            return True
        self._told[key] = [*recent, (notice.at, gist)]
        self._told.move_to_end(key)
        while len(self._told) > _MOST_KEYS:
            self._told.popitem(last=False)
        return False

    def _count(self, outcome: str) -> None:
        if self._meters is not None:
            self._meters.notifications.labels(outcome).inc()


def open_targets(urls: Sequence[str]) -> Sequence[Any]:
    """Open the targets of the configuration, each by itself.

    Raises:
        ConfigError: Apprise is not installed, or does not know one.
    """
    try:
        import apprise
    except ImportError:
        raise ConfigError(
            "alerts.urls: Apprise is not installed; run `pip install openbell[alerts]`"
        ) from None
    targets = []
    for number, url in enumerate(urls, start=1):
        target = apprise.Apprise()
        # The url itself may hold a secret: it is named by its place.
        with _unheard("apprise"):
            is_known = target.add(url)
        if not is_known:
            raise ConfigError(f"alerts.urls: target {number} is not in a form Apprise knows")
        targets.append(target)
    return targets


@contextlib.contextmanager
def _unheard(name: str) -> Iterator[None]:
    """Let a library say nothing for a while: it would log what it was given."""
    library = logging.getLogger(name)
    before = library.disabled
    library.disabled = True
    try:
        yield
    finally:
        library.disabled = before
