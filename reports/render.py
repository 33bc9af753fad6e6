"""Render a report: HTML for reading, Markdown for mail, JSON for programs, CSV for sheets."""

import csv
import io
from collections.abc import Callable, Mapping

from domain.errors import BadArgument
from reports.document import as_json
from reports.model import EndOfDayReport, RollUp
from reports.page import Page, day_page, headline, roll_up_page
from reports.table import Table

__all__ = ["FORMATS", "headline", "render"]

Report = EndOfDayReport | RollUp
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render(report: Report, form: str) -> str:
    """Return the report in one of FORMATS.

    Raises:
        BadArgument: the format is not known.
    """
    if form not in FORMATS:
        raise BadArgument(f"--format {form}: unknown; choose from {', '.join(FORMATS)}")
    return FORMATS[form](report)


def _page(report: Report, *, is_drawn: bool = False) -> Page:
    if isinstance(report, RollUp):
        return roll_up_page(report, is_drawn=is_drawn)
    return day_page(report, is_drawn=is_drawn)


def as_html(report: Report) -> str:
    """One page without external parts; all foreign text is escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page=_page(report, is_drawn=True))


def as_markdown(report: Report) -> str:
    """Plain Markdown, plots left out."""
    page = _page(report)
    parts = [f"# {page.title}", "", headline(report), "", page.subtitle]
    parts += ["", *(f"- {_markdown_cell(note)}" for note in page.notes)] if page.notes else []
    for table in page.tables:
        parts += ["", f"## {table.title}", "", *_markdown_table(table)]
    return "\n".join([*parts, "", page.footer]) + "\n"


def _markdown_table(table: Table) -> list[str]:
    if not table.rows:
        return [table.empty]
    rows = [table.headings, tuple("---" for _ in table.headings), *table.rows]
    return ["| " + " | ".join(map(_markdown_cell, row)) + " |" for row in rows]


def _markdown_cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ").replace("<", "&lt;")


def as_csv(report: Report) -> str:
    """All tables in one tidy file: section, row, column, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("section", "row", "column", "value"))
    page = _page(report)
    told = (page.title, page.subtitle, page.verdict, *page.notes)
    for number, line in enumerate(told, start=1):
        writer.writerow(("Report", number, "", _harmless(line)))
    for table in page.tables:
        for number, row in enumerate(table.rows, start=1):
            for heading, value in zip(table.headings, row, strict=True):
                writer.writerow((table.title, number, heading, _harmless(value)))
    return out.getvalue()


def _harmless(value: str) -> str:
    """Keep a spreadsheet from running a cell; a plain number may keep its sign."""
    if not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value.replace(",", "").removesuffix("%").strip())
    except ValueError:
        return value if value == "-" else f"'{value}"
    return value


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "html": as_html,
    "md": as_markdown,
    "json": as_json,
    "csv": as_csv,
}
