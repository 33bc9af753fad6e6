"""What commands print: one JSON document, or tables that fit 100 columns."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.reasons import printable

WIDTH = 100
# What a column of text is folded to at most, and what Rich leaves between two.
_NARROW = 8
_GAP = 2


def print_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    # A terminal that knows few characters gets the others as JSON writes them.
    is_ascii = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    json.dump(document, sys.stdout, indent=2, ensure_ascii=is_ascii)
    sys.stdout.write("\n")


class _Console(Console):
    """One that obeys no foreign text, and leaves it to the command what follows a closed pipe."""

    def on_broken_pipe(self) -> None:
        """Say so; Rich would end the command with a status that is not its own."""
        raise BrokenPipeError("who read the output is gone")

    def render_str(self, text: str, **how: Any) -> Text:
        """Show a headline or a broker's words as they are, also what a terminal would obey."""
        return super().render_str(printable(text), **how)


def console() -> Console:
    """Return a console that fits 100 columns; plain text when piped."""
    made = _Console(highlight=False, soft_wrap=False, markup=False, emoji=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def print_table(
    title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], *, empty: str
) -> None:
    """Print rows as a table; ``columns`` maps a key to its heading.

    Numbers are right-aligned; an empty list says in words what to do next.
    """
    if not rows:
        console().print(empty)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for key, heading in columns.items():
        is_number = all(_is_number(row.get(key)) for row in rows)
        # A price broken over two lines reads as another price.
        table.add_column(
            heading,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number,
        )
    for row in rows:
        table.add_row(*(cell(row.get(key)) for key in columns))
    out = console()
    # Better beyond the edge of a narrow terminal than cut: digits that are left out are not missed.
    out.width = max(out.width, _narrowest(columns, rows, table))
    out.print(table)


def _narrowest(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], table: Table) -> int:
    """Return the width in which no number is cut and every other column keeps some letters."""
    widths = [
        max(cell_len(text) for text in (heading, *(cell(row.get(key)) for row in rows)))
        for key, heading in columns.items()
    ]
    parts = zip(widths, table.columns, strict=True)
    return sum(w if one.no_wrap else min(w, _NARROW) for w, one in parts) + _GAP * (len(widths) - 1)


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, aligned."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, cell(value))
    console().print(grid)


def cell(value: Any) -> str:
    """Write one value for a person."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def money(text: str | None) -> str:
    """Write a decimal string with thousands separators and cents."""
    return "-" if text is None else f"{float(text):,.2f}"


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, int | float):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
