"""``openbell fetch``: fill the local bar store, and say what is fit for use."""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from daemon import event_loop, log_setup
from daemon.command_line import EXIT_FAILED, EXIT_UNAVAILABLE, Options
from daemon.commands import arguments
from daemon.commands.output import console, print_json, print_table
from daemon.config import BAR_PROVIDERS, Config, load, state_directory
from daemon.connection import loop_scale, replay_clock
from daemon.credentials import Credentials
from daemon.session.broker_calendar import sessions_beside
from daemon.sources.bar_feed import open_bar_feed
from domain.clock import Clock, SystemClock
from domain.errors import BadArgument
from domain.ids import Symbol
from marketdata.fetch import Fetched, fetch
from marketdata.session_calendar import NyseCalendar, last_complete
from state.files import create_directory

# Enough for training, too.
DEFAULT_SPAN = dt.timedelta(days=5 * 365)

OnProgress = Callable[[Sequence[Fetched]], None]


def fetch_bars(
    options: Options, *, symbols: Sequence[str], start: str | None, provider: str | None
) -> int:
    """Fetch, check, show; return the exit status."""
    config = _chosen(load(options.config), provider)
    names = [arguments.symbol(text) for text in symbols] or [
        Symbol(name) for name in config.universe.symbols
    ]
    first = arguments.session_date(start, option="--from")
    with _progress(len(set(names)), is_quiet=options.json) as move:
        # Vendors answer in real time, whatever time the daemon replays.
        results = event_loop.run(config, _fetch(config, names, first, move), speed=1)
    return _show(config.marketdata.provider, results, options)


def _chosen(config: Config, provider: str | None) -> Config:
    if provider is None:
        return config
    if provider not in BAR_PROVIDERS:
        raise BadArgument(f"--provider {provider}: choose one of {', '.join(BAR_PROVIDERS)}")
    marketdata = dataclasses.replace(config.marketdata, provider=provider)
    return dataclasses.replace(config, marketdata=marketdata)


async def _fetch(
    config: Config, symbols: Sequence[Symbol], first: dt.date | None, move: OnProgress
) -> Sequence[Fetched]:
    credentials = Credentials.of(config)
    clock: Clock = SystemClock()
    if config.clock.kind == "replay":
        clock = await replay_clock(config, credentials)
    log_setup.configure(
        level="error", form=config.logging.format, clock=clock, secrets=credentials.known()
    )
    create_directory(state_directory(config))
    calendar = sessions_beside(NyseCalendar(), state_directory(config), clock)
    last = last_complete(calendar, clock.now()).date
    start = first or last - DEFAULT_SPAN
    if start > last:
        raise BadArgument(f"--from {start}: after the last complete session, {last}")
    async with open_bar_feed(
        config, clock=clock, calendar=calendar.planned, time_scale=loop_scale(), is_strict=True
    ) as feed:
        return await fetch(
            feed.bars,
            symbols,
            start,
            clock=clock,
            calendar=calendar,
            events=feed.actions,
            on_progress=move,
        )


@contextlib.contextmanager
def _progress(total: int, *, is_quiet: bool) -> Iterator[OnProgress]:
    """Show how far it is, on stderr and only to a person."""
    screen = Console(stderr=True)
    if is_quiet or not screen.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("fetching", total=total)
        yield lambda done: bar.advance(task, len(done))


def _show(provider: str, results: Sequence[Fetched], options: Options) -> int:
    fit = [one for one in results if not one.problem]
    silent = [one for one in results if one.is_unavailable]
    if options.json:
        print_json(_document(provider, results))
    else:
        rows = [_row(one) for one in results]
        headings = {"symbol": "symbol", "bars": "bars", "first": "first", "last": "last"}
        columns = {**headings, "gaps": "gaps", "verdict": "verdict"}
        print_table("", columns, rows, empty="No symbol was asked for.")
        total = sum(one.bars for one in results)
        gaps = sum(one.gaps for one in results)
        console().print(
            f"{provider}: {total:,} bars, {gaps} gaps;"
            f" {len(fit)} of {len(results)} symbols are fit for use"
        )
    if silent:
        why = silent[0].problem
        _warn(
            f"{provider} gave nothing for {len(silent)} of {len(results)} symbols ({why});"
            " type the same command again, it goes on where it stopped"
        )
        return EXIT_UNAVAILABLE
    return 0 if len(fit) == len(results) else EXIT_FAILED


def _warn(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"openbell: {text}", markup=False)


def _row(one: Fetched) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "bars": one.bars,
        "first": one.first.isoformat() if one.first else None,
        "last": one.last.isoformat() if one.last else None,
        "gaps": one.gaps,
        "verdict": "fit" if not one.problem else "no answer" * one.is_unavailable or one.problem,
    }


def _document(provider: str, results: Sequence[Fetched]) -> dict[str, Any]:
    symbols = [
        {
            "symbol": one.symbol,
            "bars": one.bars,
            "first": one.first.isoformat() if one.first else None,
            "last": one.last.isoformat() if one.last else None,
            "gaps": one.gaps,
            "is_fit": not one.problem,
            "problem": one.problem,
        }
        for one in results
    ]
    return {
        "provider": provider,
        "bars": sum(one.bars for one in results),
        "gaps": sum(one.gaps for one in results),
        "excluded": {one.symbol: one.problem for one in results if one.problem},
        "symbols": symbols,
    }
