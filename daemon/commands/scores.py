"""``openbell forecasts --scores``: how good the matured forecasts were, beside their baseline."""

from collections.abc import Mapping
from typing import Any

from daemon.command_line import Options
from daemon.commands.output import console, print_json, print_pairs, print_table
from daemon.config import load, state_directory
from domain.errors import StorageError
from state.reader import Reader

_COLUMNS = {
    "count": "forecasts",
    "effective_size": "worth",
    "accuracy": "right %",
    "baseline_accuracy": "baseline %",
    "brier": "Brier",
    "baseline_brier": "baseline",
    "coverage_of_80_band": "80 % band held %",
}


def scores(options: Options) -> None:
    """Print the scores and draw them; or all of it, history included, as JSON."""
    directory = state_directory(load(options.config))
    with Reader(directory) as reader:
        found, history = reader.scores(), reader.score_history()
    if options.json:
        print_json({**found, "history": history})
        return
    out = console()
    out.print(f"{found['locked']:,} forecasts locked, {found['matured']:,} matured.")
    if found["standings"]:
        print_pairs([(one["source"], _standing(one)) for one in found["standings"]])
    groups = {grouping: lines for grouping, lines in found["groups"].items() if lines}
    if not groups:
        out.print("The first are scored at the end of the session on which they mature.")
        return
    for grouping, lines in groups.items():
        out.print()
        print_table("", {"name": f"by {grouping}", **_COLUMNS}, [*map(_line, lines)], empty="")
    from reports.track_record import write_page

    try:
        out.print(f"\nPlots: {write_page(directory, found, history)}")
    except StorageError as exc:
        out.print(f"\nNo plots: {exc}")


def _standing(one: Mapping[str, Any]) -> str:
    if one["is_demoted"]:
        return f"{one['model']} is demoted: {one['reason']}"
    return f"{one['model']} is in use" + (f"; {one['complaint']}" if one["complaint"] else "")


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    shares = ("accuracy", "baseline_accuracy", "coverage_of_80_band")
    return {
        **line,
        "effective_size": round(line["effective_size"]),
        **{key: round(100 * line[key], 1) for key in shares},
    }
