"""The command line.  Each command is a few lines here and a module in daemon/commands.

Imports are inside the commands, so that `openbell status` starts as fast as a bare
program whatever the daemon itself drags in.
"""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.command_line import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Options,
    advised,
    complain,
    exit_code,
    hoist,
    lose,
    ready_streams,
)
from daemon.commands.models import app as models
from domain.errors import BadArgument, OpenbellError
from domain.reasons import tidy

app = typer.Typer(
    name="openbell",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A trading daemon that has your book ready before the opening bell, "
    "and that can always be stopped.",
)


app.add_typer(models, name="models")


def _reason(about: str) -> Any:
    # Into the latch, the log and the database goes nothing that one of them could not take.
    return typer.Option("--reason", callback=tidy, help=about)


DateOption = Annotated[
    str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Session date in New York.")
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"openbell {metadata.version('openbell')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration file [./config.toml, then /etc/openbell/config.toml]."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that every command shares; they may stand anywhere on the line."""
    ctx.obj = Options(config=config, json=json)


@app.command()
def demo(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=60, help="Sessions to live through.")] = 1,
    date: DateOption = None,
    out: Annotated[
        Path | None, typer.Option(help="State directory to leave behind; else state.directory.")
    ] = None,
) -> None:
    """Live through a recorded trading day: no key, no account, about a minute."""
    from daemon.commands.demo import demo as command

    command(ctx.obj, days=days, date=date, out=out)


@app.command()
def run(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Do the runs that are due for one session, then exit.")
    ] = False,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Exit after this many sessions.")
    ] = None,
    then_wait: Annotated[
        bool, typer.Option("--then-wait", help="After them stay up, with time standing still.")
    ] = False,
) -> None:
    """Run the daemon in the foreground."""
    from daemon.commands.run import run as command

    command(ctx.obj, sessions=1 if once else sessions, is_waiting=then_wait)


@app.command()
def status(ctx: typer.Context) -> None:
    """Show mode, trading state, latch, equity, drawdown and the last run."""
    from daemon.commands.reading import status as command

    command(ctx.obj)


@app.command()
def orders(ctx: typer.Context, date: DateOption = None) -> None:
    """List orders with their state."""
    _listing(ctx, "orders", date)


@app.command()
def fills(ctx: typer.Context, date: DateOption = None) -> None:
    """List executions."""
    _listing(ctx, "fills", date)


@app.command()
def positions(ctx: typer.Context) -> None:
    """List holdings."""
    _listing(ctx, "positions", None)


@app.command()
def forecasts(
    ctx: typer.Context,
    date: DateOption = None,
    is_scored: Annotated[
        bool, typer.Option("--scores", help="Instead: how good those that matured were.")
    ] = False,
) -> None:
    """List forecasts with source and confidence, or the scores of their track record."""
    if not is_scored:
        _listing(ctx, "forecasts", date)
        return
    if date is not None:
        raise BadArgument(
            "--scores and --date: choose one of them; `--scores --json` has those of every session"
        )
    from daemon.commands.scores import scores as command

    command(ctx.obj)


@app.command()
def signals(ctx: typer.Context, date: DateOption = None) -> None:
    """List combined signals: BUY, SELL or HOLD, strength and confidence."""
    _listing(ctx, "signals", date)


@app.command()
def runs(ctx: typer.Context) -> None:
    """List what ran, was skipped or failed, and why."""
    _listing(ctx, "runs", None)


@app.command()
def costs(ctx: typer.Context) -> None:
    """List what remote services cost; report and dashboard set it against the budgets."""
    _listing(ctx, "costs", None)


def _listing(ctx: typer.Context, name: str, date: str | None) -> None:
    from daemon.commands.reading import listing

    listing(ctx.obj, name, date=date)


@app.command()
def explain(
    ctx: typer.Context,
    symbol: Annotated[str, typer.Argument(help="Symbol, such as AAPL.")],
    date: DateOption = None,
) -> None:
    """Tell why the daemon did what it did in a symbol."""
    from daemon.commands.reading import explain as command

    command(ctx.obj, symbol=symbol, date=date)


@app.command()
def kill(
    ctx: typer.Context,
    flatten: Annotated[bool, typer.Option("--flatten", help="Also close every position.")] = False,
    as_before: Annotated[
        bool, typer.Option("--as-before", help="Close positions where the kill in force did.")
    ] = False,
    reason: Annotated[str, _reason("Why; kept in the latch.")] = "operator",
) -> None:
    """Latch, cancel every open order at the broker, verify.  Works with the daemon dead."""
    from daemon.commands.stopping import kill as command

    raise typer.Exit(command(ctx.obj, flatten=flatten, as_before=as_before, reason=reason))


@app.command()
def resume(
    ctx: typer.Context,
    reason: Annotated[str, _reason("Why it is safe to trade again.")],
    confirm: Annotated[
        str, typer.Option(metavar="LAST4", help="Last four characters of the account number.")
    ],
) -> None:
    """Release the latch.  Local only; refuses while positions are unreconciled."""
    from daemon.commands.stopping import resume as command

    command(ctx.obj, reason=reason, confirm=confirm)


@app.command()
def pause(
    ctx: typer.Context,
    reason: Annotated[str, _reason("Why.")] = "operator",
) -> None:
    """Stop new entries; exits still work."""
    from daemon.commands.stopping import pause as command

    command(ctx.obj, is_paused=True, reason=reason)


@app.command()
def unpause(
    ctx: typer.Context,
    reason: Annotated[str, _reason("Why.")] = "operator",
) -> None:
    """Allow new entries again."""
    from daemon.commands.stopping import pause as command

    command(ctx.obj, is_paused=False, reason=reason)


@app.command()
def reconcile(
    ctx: typer.Context,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Take the broker's holdings by name, and a report that does not balance as it is.",
        ),
    ] = False,
    adopt_cash: Annotated[
        bool, typer.Option("--adopt-cash", help="Take the broker's cash, once the shares agree.")
    ] = False,
) -> None:
    """Compare with the broker now and print every break."""
    from daemon.commands.reconciling import reconcile as command

    command(ctx.obj, adopt=adopt, adopt_cash=adopt_cash)


@app.command()
def report(
    ctx: typer.Context,
    date: DateOption = None,
    formats: Annotated[
        str, typer.Option("--format", help="Comma list of html, md, json, csv.")
    ] = "html,md,json,csv",
    week: Annotated[bool, typer.Option("--week", help="Of the whole week of the date.")] = False,
    month: Annotated[bool, typer.Option("--month", help="Of the whole month of the date.")] = False,
    from_broker: Annotated[
        bool, typer.Option("--from-broker", help="From the broker alone, without the database.")
    ] = False,
) -> None:
    """Write the end-of-day report again, or that of its week or month."""
    from daemon.commands.reporting import report as command

    command(ctx.obj, date=date, formats=formats, week=week, month=month, from_broker=from_broker)


@app.command()
def fetch(
    ctx: typer.Context,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL...", help="Without any: the universe.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="YYYY-MM-DD", help="First date; else 5 years ago."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of marketdata.provider.")
    ] = None,
) -> None:
    """Download market data into the local store and validate it; type it again to resume."""
    from daemon.commands.fetching import fetch_bars as command

    raise typer.Exit(command(ctx.obj, symbols=symbols or [], start=start, provider=provider))


@app.command()
def doctor(ctx: typer.Context) -> None:
    """Check everything the daemon relies on; each problem names its fix.  Reads only."""
    from daemon.commands.doctor import doctor as command

    raise typer.Exit(command(ctx.obj))


@app.command()
def backup(
    ctx: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="File to write [{state.directory}/backups/NOW.db].")
    ] = None,
) -> None:
    """Copy the database, also beside a running daemon, and restore the copy on trial."""
    from daemon.commands.safekeeping import backup as command

    command(ctx.obj, out=out)


@app.command()
def restore(
    ctx: typer.Context,
    reason: Annotated[str, _reason("Why; kept in the latch.")],
    path: Annotated[
        Path | None, typer.Argument(metavar="BACKUP", help="Without one: the newest.")
    ] = None,
    accept_rollback: Annotated[
        bool,
        typer.Option("--accept-rollback", help="Keep the database, although it lost events."),
    ] = False,
) -> None:
    """Put a backup in the place of the database; the daemon must be stopped."""
    from daemon.commands.safekeeping import restore as command

    command(ctx.obj, path=path, reason=reason, is_rollback_accepted=accept_rollback)


@app.command("arm-live")
def arm_live(
    ctx: typer.Context,
    account: Annotated[str, typer.Option(metavar="NUMBER", help="The live account's number.")],
    confirm: Annotated[str, typer.Option(metavar="NUMBER", help="The same number again.")],
) -> None:
    """Confirm at this machine which account live mode may trade."""
    from daemon.commands.arming import arm_live as command

    command(ctx.obj, account=account, confirm=confirm)


@app.command()
def init(
    ctx: typer.Context,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Also write the unit files of the service.")
    ] = False,
) -> None:
    """Write a commented configuration for an Alpaca paper account."""
    from daemon.commands.init import init as command

    command(ctx.obj, systemd=systemd)


@app.command("paper-server")
def paper_server(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8765,
) -> None:
    """Serve the embedded broker alone: Alpaca's HTTP and WebSocket API on loopback."""
    from daemon.commands.serving import paper_server as command

    command(ctx.obj, port=port)


@app.command()
def train(  # noqa: PLR0913, PLR0917 - an argument for each option
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(help="rnn, gru, lstm, attention-lstm, nhits, tft, lstm-ensemble.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on after an interruption.")] = False,
    features: Annotated[str, typer.Option(help="bars, or bars+technical with TA-Lib.")] = "bars",
    window: Annotated[
        str | None, typer.Option(help="Sessions seen and forecast, such as 168:24 [60:40].")
    ] = None,
    is_stored: Annotated[
        bool, typer.Option("--stored", help="On the bars that `openbell fetch` stored.")
    ] = False,
    until: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Use no bar from this date on.")
    ] = None,
) -> None:
    """Train a forecasting model on the recorded prices, calibrated out of sample."""
    from daemon.commands.training import Wish
    from daemon.commands.training import train as command

    wish = Wish(
        model=model,
        seed=seed,
        epochs=epochs,
        device=device,
        resume=resume,
        features=features,
        window=window,
        is_stored=is_stored,
        until=until,
    )
    command(ctx.obj, wish)


@app.command("serve-models")
def serve_models(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8500,
    host: Annotated[
        str, typer.Option(help="Address; beyond loopback OPENBELL_FORECAST_TOKEN is a must.")
    ] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, max=32, help="Processes per model version.")] = 1,
    queue: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 32,
    device: Annotated[str, typer.Option(help="cpu, or cuda with torch.")] = "cpu",
) -> None:
    """Serve forecasting models by the Open Inference Protocol: the remote GPU half."""
    from daemon.commands.serve_models import serve_models as command

    command(ctx.obj, host=host, port=port, workers=workers, queue=queue, device=device)


def main() -> None:
    """Run a command; any error is one sentence on stderr and an exit status."""
    ready_streams()
    sys.exit(_run(hoist(sys.argv[1:])))


def _run(arguments: list[str]) -> int:
    try:
        result: Any = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        # Without a command the help was printed already, and there is nothing to add.
        if message := error.format_message():
            complain(f"{message} (see `openbell --help`)")
        return EXIT_USAGE
    except OpenbellError as error:
        complain(advised(error))
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        lose(sys.stdout)
        return EXIT_FAILED
    except OSError as error:
        lose(sys.stdout)
        complain(f"the system refused ({error}); check disk, memory and open files")
        return EXIT_FAILED
    return result if isinstance(result, int) else 0
