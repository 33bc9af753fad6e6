"""The one table that every measurement fills: ours, the floor or peer, and the ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

WHOLE_FROM = 100  # from here on decimals say nothing
HEADINGS = ("name", "ours", "floor or peer", "ratio", "target", "command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure.

    ``ours`` and ``floor`` are in the same ``unit``; ``floor`` is None where there is nothing
    honest to compare with, ``target`` is words for people.
    """

    name: str
    ours: float
    unit: str
    command: str
    floor: float | None = None
    floor_name: str = ""
    target: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, one string per heading."""
        floor, ratio = "-", "-"
        if self.floor is not None:
            floor = f"{_figure(self.floor)} {self.unit} ({self.floor_name})"
            ratio = f"{self.ours / self.floor:.2f}" if self.floor > 0 else "-"
        ours = f"{_figure(self.ours)} {self.unit}".strip()
        return (self.name, ours, floor, ratio, self.target or "-", self.command)


def render(rows: Sequence[Row]) -> str:
    """Return the rows as an aligned Markdown table."""
    table = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _figure(value: float) -> str:
    whole = abs(value) >= WHOLE_FROM or value == int(value)
    return f"{value:,.0f}" if whole else f"{value:.3g}"
