"""``openbell demo``: one recorded day on the real daemon, and the stop button at its end."""

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from daemon.command_line import EXIT_REFUSED, Options
from daemon.commands import arguments
from daemon.commands.output import console, print_json
from daemon.config import find_path, load, state_directory
from daemon.demo.child import Child, openbell_json
from daemon.demo.narrator import Narrator
from daemon.demo.scenario import FAULTS, Scenario, plan
from daemon.demo.stage import stage
from domain.errors import ConfigError, OpenbellError
from domain.reasons import printable

LOG = "demo.log"


class DemoFailed(OpenbellError):
    """The day did not end as a day should."""


def demo(options: Options, *, days: int, date: str | None, out: Path | None) -> None:
    """Live the day, show it, leave its state behind."""
    config = load(options.config)
    scenario = plan(config, days=days, date=arguments.session_date(date))
    target = out or state_directory(config)
    screen = Screen(is_quiet=options.json)
    with stage(target) as workplace:
        environment = _environment(workplace, scenario)
        path = str(find_path(options.config))
        result = asyncio.run(_live(path, environment, scenario, screen, workplace / LOG))
    if options.json:
        print_json({**result, "out": str(target)})
    else:
        screen.close(target, is_default=out is None)


def _environment(workplace: Path, scenario: Scenario) -> Mapping[str, str]:
    return {
        "OPENBELL__MODE": "paper",
        "OPENBELL__STATE__DIRECTORY": str(workplace),
        "OPENBELL__CLOCK__KIND": "replay",
        "OPENBELL__CLOCK__START": scenario.start.isoformat(),
        "OPENBELL__CLOCK__SPEED": "0",
        "OPENBELL__BROKER__EMBEDDED__FAULTS": json.dumps(FAULTS),
        "OPENBELL__LOGGING__FORMAT": "json",
        "OPENBELL__LOGGING__LEVEL": "info",
        "OPENBELL__HTTP__ENABLED": "false",
        "OPENBELL__MQTT__ENABLED": "false",
    }


async def _live(
    path: str,
    environment: Mapping[str, str],
    scenario: Scenario,
    screen: "Screen",
    log: Path,
) -> Mapping[str, Any]:
    screen.open(scenario)
    count = len(scenario.sessions)
    run = ["--config", path, "run", "--sessions", str(count), "--then-wait"]
    child = await Child.start(run, environment, log)
    narrator = Narrator(screen.line)
    is_done = False
    try:
        with screen.progress(scenario) as move:
            async for event in child.events():
                narrator.hear(event)
                move(event)
                if event.get("event") == "daemon.waiting":
                    is_done = True
                    break
    finally:
        await child.stop_hard()
    if not is_done:
        raise _failure(child)
    screen.line("", "the daemon is stopped for good (SIGKILL); now the stop button, without it:")
    kill = ["--config", path, "kill", "--flatten", "--reason", "end of the demo"]
    status, report = await openbell_json(kill, environment)
    screen.line(
        "",
        f"kill --flatten: {report.get('proof')}, latched, {report.get('open_orders')} closing"
        f" orders for {report.get('positions')} positions, verified"
        f" {'yes' if report.get('verified') else 'NO'}",
    )
    return {"sessions": [str(s.date) for s in scenario.sessions], "kill": report, "status": status}


def _failure(child: Child) -> OpenbellError:
    said = child.last_words.removeprefix("openbell: ")
    if child.exit_status == EXIT_REFUSED and said:
        return ConfigError(said)
    return DemoFailed(said or f"the daemon stopped with status {child.exit_status}")


class Screen:
    """The demo's screen: at most 25 lines, the last one a command to type."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._console = console()
        self._is_quiet = is_quiet

    def open(self, scenario: Scenario) -> None:
        """Say what this is and what it is not."""
        first, last = scenario.sessions[0].date, scenario.sessions[-1].date
        span = f"{first:%A, %d %B %Y}" if first == last else f"{first} to {last}"
        title = ("openbell demo", "bold")
        self._print(Text.assemble(title, f"  DEMO account, {span}, New York time"))
        self._print(
            "Recorded prices of companies that survived, so results flatter; the path within the"
            " day is derived from open, high, low and close; no news of that day is recorded."
        )

    def line(self, time: str, text: str) -> None:
        """Print one line of the day."""
        self._print(Text.assemble((f"{time:>5}", "dim"), f"  {printable(text)}"))

    def close(self, out: Path, *, is_default: bool) -> None:
        """End with what was left behind and the next command."""
        self._print(f"Left behind in {out}: books, latch, log, reports/ (open report.html)")
        where = "" if is_default else f"OPENBELL__STATE__DIRECTORY={out} "
        self._print(Text.assemble("Next: ", (f"{where}openbell explain AAPL", "bold")))

    @contextlib.contextmanager
    def progress(self, scenario: Scenario) -> Iterator[Any]:
        """Show how far the replayed time is; nothing when piped."""
        total = (scenario.end - scenario.start).total_seconds()
        if self._is_quiet or not self._console.is_terminal:
            yield lambda _event: None
            return
        columns = (TextColumn("       {task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("living the day", total=total)
            yield lambda event: _move(bar, task, event, scenario)

    def _print(self, text: str | Text) -> None:
        if not self._is_quiet:
            self._console.print(text)


def _move(bar: Progress, task: TaskID, event: Mapping[str, Any], scenario: Scenario) -> None:
    with contextlib.suppress(KeyError, ValueError):
        moment = dt.datetime.fromisoformat(event["at"])
        bar.update(task, completed=max(0.0, (moment - scenario.start).total_seconds()))
