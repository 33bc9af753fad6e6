"""Tell people, through Apprise: at once, not twice the same, and never in trading's way."""

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from daemon.telemetry.hub import Hub, Notice
from domain.clock import Clock
from domain.errors import ConfigError

if TYPE_CHECKING:
    from daemon.telemetry.metrics import Meters

# The same kind about the same symbol is told again only after this.
QUIET = dt.timedelta(minutes=15)
_MOST_WAITING = 50
_SEND_SECONDS = 30.0
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
        self._apprise = open_targets(urls)
        self._clock = clock
        self._scale = time_scale
        self._meters = meters
        self._queue: asyncio.Queue[Notice] = asyncio.Queue(_MOST_WAITING)
        self._told: OrderedDict[tuple[str, str | None], dt.datetime] = OrderedDict()
        self._held_back = 0
        self._log = structlog.get_logger("alerts")
        hub.listen(self.hear)

    def hear(self, notice: Notice) -> None:
        """Queue an urgent notice; never waits."""
        if not notice.is_urgent:
            return
        if notice.kind not in _ALWAYS and self._is_echo(notice):
            self._held_back += 1
            self._count("held_back")
            return
        try:
            self._queue.put_nowait(notice)
        except asyncio.QueueFull:
            self._count("dropped")

    async def run(self) -> None:
        """Send what is queued until cancelled; what waits together goes as one message."""
        while True:
            notices = [await self._queue.get()]
            while not self._queue.empty():
                notices.append(self._queue.get_nowait())
            await self._send(notices)

    def _is_echo(self, notice: Notice) -> bool:
        key = (notice.kind, notice.symbol)
        last = self._told.get(key)
        # Told in what is the future now, by a clock that was put back since: that is no echo.
        if last is not None and dt.timedelta(0) <= notice.at - last < QUIET:
            return True
        self._told[key] = notice.at
        self._told.move_to_end(key)
        while len(self._told) > _MOST_WAITING * 10:
            self._told.popitem(last=False)
        return False

    async def _send(self, notices: Sequence[Notice]) -> None:
        title, body = compose(notices, held_back=self._held_back)
        self._held_back = 0
        try:
            async with asyncio.timeout(_SEND_SECONDS * self._scale):
                is_sent = await asyncio.to_thread(self._apprise.notify, title=title, body=body)
        except TimeoutError:
            is_sent = False
        if not is_sent:
            self._log.error("alert.unsent", title=title)
        self._count("sent" if is_sent else "failed")

    def _count(self, outcome: str) -> None:
        if self._meters is not None:
            self._meters.notifications.labels(outcome).inc()


def compose(notices: Sequence[Notice], *, held_back: int) -> tuple[str, str]:
    """Return title and body of one message."""
    first = notices[0]
    more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
    lines = [f"{one.at:%Y-%m-%d %H:%M:%S} UTC  {one.kind}: {one.text}" for one in notices]
    if held_back:
        lines.append(f"({held_back} repeats were held back)")
    return f"openbell: {first.kind}{more}", "\n".join(lines)


def open_targets(urls: Sequence[str]) -> Any:
    """Open the targets of the configuration.

    Raises:
        ConfigError: Apprise is not installed, or does not know one.
    """
    try:
        import apprise
    except ImportError:
        raise ConfigError(
            "alerts.urls: Apprise is not installed; run `pip install openbell[alerts]`"
        ) from None
    targets = apprise.Apprise()
    for number, url in enumerate(urls, start=1):
        # The url itself may hold a secret: it is named by its place.
        if not targets.add(url):
            raise ConfigError(f"alerts.urls: target {number} is not in a form Apprise knows")
    return targets
