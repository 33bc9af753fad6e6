"""Reports to people: a summary through the alert targets, with the page attached."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from daemon.config import Config, state_directory
from domain.money import cents
from reports.model import EndOfDayReport, RollUp
from reports.render import headline
from reports.trades import slippage_summary
from reports.write import report_directory

_SEND_SECONDS = 30.0


class ReportDelivery:
    """Sends what the end of the day wrote; what did not arrive is an alert, which waits."""

    def __init__(
        self, config: Config, *, time_scale: float, alert: Callable[[str, str], None]
    ) -> None:
        """Open the targets.

        Args:
            config: names them.
            time_scale: simulated seconds in a real one.
            alert: tells of a report that did not reach every target.

        Raises:
            ConfigError: Apprise is not installed, or does not know a target.
        """
        from daemon.telemetry.alerts import open_targets

        self._targets = open_targets(config.alerts.urls)
        self._state = state_directory(config)
        self._scale = time_scale
        self._alert = alert
        self._log = structlog.get_logger("alerts")

    async def __call__(self, made: Sequence[EndOfDayReport | RollUp]) -> None:
        """Send each report by itself."""
        for report in made:
            title, body = summary(report)
            page = report_directory(self._state, report) / "report.html"
            is_sent = await self._send(title, body, page)
            if is_sent:
                self._log.info("report.delivered", title=title)
            else:
                self._alert("report.undelivered", f"{title}: not every target took it")

    async def _send(self, title: str, body: str, page: Path) -> bool:
        try:
            async with asyncio.timeout(_SEND_SECONDS * self._scale):
                sent = await asyncio.gather(
                    *(
                        asyncio.to_thread(one.notify, title=title, body=body, attach=[str(page)])
                        for one in self._targets
                    ),
                    # The report is made: a fault of a target's library is no failure of the run.
                    return_exceptions=True,
                )
        except TimeoutError:
            return False
        return all(one and not isinstance(one, BaseException) for one in sent)


def summary(report: EndOfDayReport | RollUp) -> tuple[str, str]:
    """Return title and text of one message; the account leaves as its last characters only."""
    if isinstance(report, RollUp):
        title = f"openbell: {report.kind} {report.name}"
        days = [
            f"{day.session_date:%a %d %b}  {cents(day.bridge.pnl):+,.2f}" for day in report.days
        ]
        return title, "\n".join([headline(report), *days])
    lines = [headline(report), *report.doubts]
    lines.append(
        f"{len(report.fills)} fills, {len(report.denied)} denied, {len(report.incidents)} incidents"
    )
    if (slippage := slippage_summary(report.trades)) is not None:
        told = f"{slippage['mean_bps']:+.1f} bps, {slippage['cost_usd']:+} USD"
        lines.append(f"slippage {told}; assumed {slippage['assumed_bps']} bps")
    lines += [f"{one.strategy}  {one.pnl:+,.2f}" for one in report.by_strategy]
    if report.tomorrow is not None:
        half = ", a half day" if report.tomorrow.is_half_day else ""
        lines.append(f"next session {report.tomorrow.date:%a %d %b}{half}")
    return f"openbell: {report.session_date:%a %d %b %Y}", "\n".join(lines)
