"""Render a report: HTML for reading, Markdown for mail, JSON for programs, CSV for sheets."""

import csv
import io
from collections.abc import Callable, Mapping

from domain.errors import BadArgument
from domain.money import cents
from reports.document import as_json
from reports.model import EndOfDayReport
from reports.plots import equity_svg, positions_svg
from reports.tables import Table, tables

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render(report: EndOfDayReport, form: str) -> str:
    """Return the report in one of FORMATS.

    Raises:
        BadArgument: the format is not known.
    """
    if form not in FORMATS:
        raise BadArgument(f"--format {form}: unknown; choose from {', '.join(FORMATS)}")
    return FORMATS[form](report)


def headline(report: EndOfDayReport) -> str:
    """Say the day in a sentence."""
    bridge = report.bridge
    verdict = "the books balance" if report.is_reconciled else "NOT RECONCILED"
    return (
        f"P&L {cents(bridge.pnl):+,.2f} USD, equity {cents(bridge.equity_end):,.2f}; "
        f"residual {cents(bridge.residual):,.2f}: {verdict}"
    )


def as_html(report: EndOfDayReport) -> str:
    """One page without external parts; all foreign text is escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("end_of_day.html").render(
        report=report,
        headline=headline(report),
        tables=tables(report),
        equity_svg=equity_svg(report),
        positions_svg=positions_svg(report),
    )


def as_markdown(report: EndOfDayReport) -> str:
    """Plain Markdown, plots left out."""
    parts = [f"# End of day {report.session_date}", "", headline(report), ""]
    parts += [f"- {note}" for note in report.notes]
    for table in tables(report):
        parts += ["", f"## {table.title}", "", *_markdown_table(table)]
    if report.next_session is not None:
        parts += ["", f"Next session: {report.next_session:%A, %d %B %Y}"]
    return "\n".join(parts) + "\n"


def _markdown_table(table: Table) -> list[str]:
    if not table.rows:
        return [table.empty]
    rows = [table.headings, tuple("---" for _ in table.headings), *table.rows]
    return ["| " + " | ".join(map(_markdown_cell, row)) + " |" for row in rows]


def _markdown_cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ").replace("<", "&lt;")


def as_csv(report: EndOfDayReport) -> str:
    """All tables in one tidy file: section, row, column, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("section", "row", "column", "value"))
    for table in tables(report):
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


FORMATS: Mapping[str, Callable[[EndOfDayReport], str]] = {
    "html": as_html,
    "md": as_markdown,
    "json": as_json,
    "csv": as_csv,
}
