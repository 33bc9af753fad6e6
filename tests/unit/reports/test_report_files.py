"""What is written: whole or not at all, the same bytes each time, and harmless."""

import csv
import dataclasses
import datetime as dt
import errno
import io
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from domain.errors import BadArgument, StorageError
from reports.model import Bridge, EndOfDayReport, Point
from reports.render import FORMATS, render
from reports.write import write

HOSTILE = '=HYPERLINK("http://x")<script>alert(1)</script>|'
START = dt.datetime(2026, 6, 4, 13, 30, tzinfo=dt.UTC)
BRIDGE = Bridge(
    equity_start=Decimal(100000),
    equity_end=Decimal("99990.5"),
    realized_pnl=Decimal(0),
    unrealized_pnl_change=Decimal("-9.5"),
    fees=Decimal(0),
    dividends=Decimal(0),
    interest=Decimal(0),
    transfers=Decimal(0),
    other=Decimal(0),
)


@pytest.fixture
def report() -> EndOfDayReport:
    points = tuple(
        Point(at=START + dt.timedelta(minutes=5 * n), value=Decimal(100000 - n)) for n in range(5)
    )
    return EndOfDayReport(
        session_date=dt.date(2026, 6, 4),
        revision=1,
        mode="paper",
        account_tail="0001",
        tomorrow=None,
        bridge=BRIDGE,
        by_symbol=(),
        orders=(),
        fills=(),
        denied=(),
        signals=(),
        forecasts=(),
        sentiment=(),
        runs=(),
        incidents=(
            {"id": 1, "at": START.isoformat(), "kind": "x", "symbol": None, "text": HOSTILE},
        ),
        costs=(),
        notes=(),
        equity_curve=points,
        position_curves={"AAA": points},
    )


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_same_report_gives_the_same_bytes(report: EndOfDayReport, form: str) -> None:
    assert render(report, form) == render(report, form)


def test_r06_foreign_text_cannot_run_in_a_browser(report: EndOfDayReport) -> None:
    page = render(report, "html")

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_r06_foreign_text_cannot_run_in_a_spreadsheet(report: EndOfDayReport) -> None:
    cells = [row[3] for row in csv.reader(io.StringIO(render(report, "csv")))]

    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]
    assert "-9.50" in cells


def test_the_page_needs_nothing_from_outside(report: EndOfDayReport) -> None:
    page = render(report, "html")

    assert "src=" not in page
    assert "href=" not in page.replace("xlink:href=", "")
    assert page.count("<svg") == 4


def test_money_in_the_document_is_exact_text(report: EndOfDayReport) -> None:
    document = json.loads(render(report, "json"), parse_float=pytest.fail)

    assert document["equity_end"] == "99990.5"
    assert document["residual"] == "0.00"
    assert document["reconciled"] is True


def test_a_report_that_does_not_close_says_so_first(report: EndOfDayReport) -> None:
    broken = dataclasses.replace(
        report, bridge=dataclasses.replace(BRIDGE, equity_end=Decimal("99990.51"))
    )

    verdict = (
        "NOT RECONCILED: the next session opens reduce-only, until this or a later report balances"
        " or a person accepts the difference with: openbell reconcile --adopt"
    )
    assert verdict in " ".join(render(broken, "html").split())
    assert "NOT RECONCILED" in render(broken, "md").splitlines()[2]
    assert json.loads(render(broken, "json"))["residual"] == "0.01"


@pytest.mark.parametrize(
    ("refused", "next_step"),
    [
        (errno.ENOSPC, "free the disk"),
        (errno.EACCES, "give it to the user that runs openbell"),
        (errno.EROFS, "mount the disk for writing"),
    ],
)
def test_r03_a_crash_in_the_middle_leaves_the_old_file_whole(
    report: EndOfDayReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: int,
    next_step: str,
) -> None:
    old = write(tmp_path, report, ["json"])[0].read_bytes()

    def crash(_: int) -> None:
        raise OSError(refused, os.strerror(refused))

    monkeypatch.setattr("reports.write.os.fsync", crash)
    with pytest.raises(StorageError, match=next_step):
        write(tmp_path, dataclasses.replace(report, revision=2), ["json"])

    folder = tmp_path / "reports" / "2026-06-04"
    assert not list(folder.glob(".*"))
    assert (folder / "report.json").read_bytes() == old


def test_an_unknown_format_is_refused_before_anything_is_written(
    report: EndOfDayReport, tmp_path: Path
) -> None:
    with pytest.raises(BadArgument, match="choose from html, md, json, csv"):
        write(tmp_path, report, ["html", "pdf"])

    assert not (tmp_path / "reports").exists()


def test_a_forecast_and_what_came_of_it_are_told_as_what_the_price_does(
    report: EndOfDayReport,
) -> None:
    # Log returns in the books: one of -0.6931 is half of the price gone.
    forecast = {"symbol": "AAA", "probability_up": 0.6, "quantiles": [-0.6931472, 0.0, 0.4054651]}
    matured = {
        "symbol": "BBB",
        "probability_up": 0.6,
        "base_rate": 0.5,
        "outcome": -0.2876821,
        "was_right": False,
        "is_inside_80": True,
    }

    page = render(dataclasses.replace(report, forecasts=(forecast,), matured=(matured,)), "md")

    assert "| -50.0 % | +0.0 % | +50.0 % |" in page
    assert "| -25.00 % | no | yes |" in page
