"""``openbell models``: the words of the command line; what they do is in model_registry.

Only Typer is imported here: the whole command line reads this module to know its words.
"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, compare, promote and export forecasting models.")

Name = Annotated[str, typer.Argument(help="Model, such as lstm.")]
VersionOption = Annotated[
    str | None, typer.Option("--version", metavar="N", help="Version; else the one in use.")
]


@app.callback(invoke_without_command=True)
def models(ctx: typer.Context) -> None:
    """List, compare, promote and export forecasting models; a bare `models` lists them."""
    if ctx.invoked_subcommand is None:
        list_models(ctx)


@app.command("list")
def list_models(ctx: typer.Context) -> None:
    """List every version of every model."""
    from daemon.commands.model_registry import listing

    listing(ctx.obj)


@app.command()
def show(ctx: typer.Context, name: Name, version: VersionOption = None) -> None:
    """Show what a model eats, where it comes from and how good it was."""
    from daemon.commands.model_registry import show as command

    command(ctx.obj, name=name, version=version)


@app.command()
def compare(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Models, such as lstm or lstm/2; else all in use.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="Sessions ahead; else the farthest measured.")
    ] = None,
) -> None:
    """Set models beside each other and beside their baselines, on the same windows."""
    from daemon.commands.model_registry import compare as command

    command(ctx.obj, names=names or [], step=step)


@app.command()
def promote(
    ctx: typer.Context,
    name: Name,
    version: Annotated[str, typer.Argument(help="Version to put in use.")],
    is_forced: Annotated[
        bool, typer.Option("--regardless", help="Also when the rule is against it.")
    ] = False,
) -> None:
    """Put a version in use: a newer one by the rule, an older one at once."""
    from daemon.commands.model_registry import promote as command

    command(ctx.obj, name=name, version=version, is_forced=is_forced)


@app.command()
def challenge(
    ctx: typer.Context,
    name: Name,
    version: Annotated[str, typer.Argument(help="Version to measure.")],
    is_stored: Annotated[
        bool, typer.Option("--stored", help="On the bars that `openbell fetch` stored.")
    ] = False,
) -> None:
    """Measure a version against the one in use, on windows that neither has seen."""
    from daemon.commands.challenging import challenge as command

    command(ctx.obj, name=name, version=version, is_stored=is_stored)


@app.command()
def rollback(ctx: typer.Context, name: Name) -> None:
    """Put the version in use that was before the one that is."""
    from daemon.commands.model_registry import rollback as command

    command(ctx.obj, name=name)


@app.command()
def export(
    ctx: typer.Context,
    name: Name,
    form: Annotated[str, typer.Option("--format", help="triton, modelscope or onnx.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    version: VersionOption = None,
) -> None:
    """Write a model for another place: a Triton repository, ModelScope, plain ONNX."""
    from daemon.commands.model_registry import export as command

    command(ctx.obj, name=name, form=form, out=out, version=version)
