"""The track record of the forecasts as one page: tables, and plots beside the baseline."""

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import StorageError, remedy
from reports.plots import LINE, MUTED, canvas, drawn
from reports.write import DIRECTORY

FILE = "forecasts.html"
Row = Mapping[str, Any]

_COLUMNS = (
    ("name", "", "{}"),
    ("count", "forecasts", "{:,}"),
    ("effective_size", "worth", "{:,.0f}"),
    ("accuracy", "right", "{:.1%}"),
    ("baseline_accuracy", "baseline", "{:.1%}"),
    ("brier", "Brier", "{:.4f}"),
    ("baseline_brier", "baseline", "{:.4f}"),
    ("coverage_of_80_band", "80 % band held", "{:.1%}"),
)
_LOW, _HIGH = 0.72, 0.88


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table of the page."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(scores: Row) -> tuple[Section, ...]:
    """Return a table for each grouping that has anything in it."""
    headings = tuple(heading for _, heading, _ in _COLUMNS)
    return tuple(
        Section(
            title=f"By {grouping}",
            headings=(grouping, *headings[1:]),
            rows=tuple(
                tuple(form.format(line[key]) for key, _, form in _COLUMNS) for line in lines
            ),
        )
        for grouping, lines in scores["groups"].items()
        if lines
    )


def page(scores: Row, history: Sequence[Row]) -> str:
    """Return the page, without external parts."""
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sources = [row for row in history if row["grouping"] == "source"]
    return environment.get_template("track_record.html").render(
        scores=scores, sections=sections(scores), plots=plots(scores, sources)
    )


def plots(scores: Row, sources: Sequence[Row]) -> tuple[str, ...]:
    """Return accuracy, Brier score and coverage over time, and accuracy by confidence."""
    if not sources:
        return ()
    return (
        _beside_baseline("Share of right directions", sources, "accuracy", "baseline_accuracy"),
        _beside_baseline("Brier score, lower is better", sources, "brier", "baseline_brier"),
        _coverage(sources),
        _by_confidence(scores["groups"]["confidence"]),
    )


def write_page(state: Path, scores: Row, history: Sequence[Row]) -> Path:
    """Write the page into the folder of reports.

    Raises:
        StorageError: the disk refused.
    """
    path = state / DIRECTORY / FILE
    draft = path.with_name(f".{FILE}.part")
    text = page(scores, history)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as exc:
        raise StorageError(f"{path} could not be written ({exc}); {remedy(exc)}") from exc
    return path


def _beside_baseline(title: str, rows: Sequence[Row], key: str, baseline: str) -> str:
    figure, axes = canvas(f"{title}; dashed: the base rate on the same forecasts")
    for number, (name, days, lines) in enumerate(_series(rows)):
        color = LINE if number == 0 else f"C{number}"
        axes.plot(days, [row[key] for row in lines], color=color, linewidth=1.8, label=name)
        values = [row[baseline] for row in lines]
        axes.plot(days, values, color=color, linewidth=1.1, linestyle="--")
    axes.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=MUTED)
    return drawn(figure, axes)


def _coverage(rows: Sequence[Row]) -> str:
    figure, axes = canvas("Share of outcomes inside the 80 % band; gray: what is tolerated")
    axes.axhspan(_LOW, _HIGH, color=MUTED, alpha=0.15)
    axes.axhline(0.8, color=MUTED, linewidth=0.9, linestyle="--")
    for number, (name, days, lines) in enumerate(_series(rows)):
        color = LINE if number == 0 else f"C{number}"
        values = [row["coverage_of_80_band"] for row in lines]
        axes.plot(days, values, color=color, linewidth=1.8, label=name)
    axes.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=MUTED)
    return drawn(figure, axes)


def _by_confidence(lines: Sequence[Row]) -> str:
    figure, axes = canvas("Share of right directions by confidence; dashes: what was promised")
    for place, line in enumerate(lines):
        promised = [float(part) / 100 for part in line["name"].removesuffix(" %").split("-")]
        axes.bar(place, line["accuracy"], width=0.6, color=LINE, alpha=0.8)
        axes.hlines(promised, place - 0.35, place + 0.35, color=MUTED, linestyle="--")
    axes.set_xticks(range(len(lines)), [f"{line['name']}\n{line['count']:,}" for line in lines])
    axes.set_ylim(0, 1)
    return drawn(figure, axes, is_dated=False)


def _series(rows: Sequence[Row]) -> list[tuple[str, list[dt.date], list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return [
        (name, [dt.date.fromisoformat(line["session_date"]) for line in lines], lines)
        for name, lines in sorted(found.items(), reverse=True)
    ]
