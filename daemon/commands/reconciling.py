"""``reconcile``: compare with the broker now, and adopt what a person says is right."""

from collections.abc import Mapping
from dataclasses import dataclass

from daemon import event_loop
from daemon.books import open_books
from daemon.command_line import Options
from daemon.commands.output import console, print_json, print_table
from daemon.config import Config, load, state_directory
from daemon.connection import connect
from domain.ids import Symbol
from domain.money import text
from execution.accepting import accept_report
from execution.comparing import ReconcileReport
from execution.orders import OrderPath
from execution.reconcile import Reconciler
from state.report_rows import ReportRecord
from state.reports import Reports
from state.store import Store

_REASON = "adopted by the operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """The last comparison, what is locked after it, and the report that did not balance.

    ``accepted`` is that report where this command took it as it is; ``waiting`` where
    entries still wait for it.
    """

    report: ReconcileReport
    locks: Mapping[Symbol, str]
    accepted: ReportRecord | None
    waiting: ReportRecord | None


def reconcile(options: Options, *, adopt: bool, adopt_cash: bool) -> None:
    """Print every break, or that there is none."""
    config = load(options.config)
    outcome = event_loop.run(
        config, _reconcile(config, adopt=adopt, adopt_cash=adopt_cash), speed=1
    )
    report, accepted, waiting = outcome.report, outcome.accepted, outcome.waiting
    if options.json:
        told = {"report_accepted": _told(accepted), "report_unbalanced": _told(waiting)}
        print_json({**report.as_json(), **told})
        return
    rows = report.as_json()["breaks"]
    columns = {"kind": "kind", "symbol": "symbol", "ours": "ours", "theirs": "broker", "detail": ""}
    print_table("", columns, rows, empty="Our books and the broker's agree.")
    for symbol, why in outcome.locks.items():
        if symbol not in {row["symbol"] for row in rows}:
            console().print(f"{symbol} takes exits only: {why}")
    if (hint := next_step(report, is_adopted=adopt)) is not None:
        console().print(hint)
    if accepted is not None:
        console().print(
            f"The report of {accepted.session_date} is accepted as it is, with"
            f" {text(accepted.residual)} USD unexplained: entries are allowed again."
        )
    elif waiting is not None:
        console().print(f"Exits only: {waiting.problem}")


def _told(report: ReportRecord | None) -> Mapping[str, str] | None:
    if report is None:
        return None
    return {"session_date": report.session_date.isoformat(), "residual": text(report.residual)}


def next_step(report: ReconcileReport, *, is_adopted: bool) -> str | None:
    """Return what a person does about the breaks that are left; None where none are."""
    if not report.is_equal:
        return None if is_adopted else "Take the broker's holdings with: openbell reconcile --adopt"
    if not report.cash_residual:
        return None
    return (
        "Cash that nothing explains is not counted as equity. If no deposit, dividend or fee is"
        " still to come, take it with: openbell reconcile --adopt-cash"
    )


async def _reconcile(config: Config, *, adopt: bool, adopt_cash: bool) -> _Outcome:
    async with connect(config) as connection:
        store = Store.open(state_directory(config), clock=connection.clock)
        try:
            desk = await open_books(config, connection, store)
            reconciler = Reconciler(desk, OrderPath(desk))
            report = await reconciler.run("operator", is_deep=True)
            for symbol in sorted({found.symbol for found in report.breaks if found.symbol}):
                if adopt:
                    report = await reconciler.adopt(symbol, _REASON)
            if adopt_cash and report.cash_residual:
                report = await reconciler.adopt_cash(_REASON)
            is_adopted = adopt or adopt_cash
            return _Outcome(
                report=report,
                locks=desk.ledger.locks(),
                accepted=accept_report(desk, report, _REASON) if is_adopted else None,
                waiting=Reports(store).unbalanced(),
            )
        finally:
            store.close()
