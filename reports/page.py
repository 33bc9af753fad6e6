"""A page: what every human format of a report shows, whatever period it covers."""

from dataclasses import dataclass
from decimal import Decimal

from domain.money import cents
from reports.model import UNREPORTED, Bridge, EndOfDayReport, RollUp
from reports.plots import day_plots, roll_up_plots
from reports.table import Table, percent
from reports.tables import day_tables, roll_up_tables
from reports.trades import slippage_summary

GOOD, BAD, PLAIN = "good", "bad", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number to see first; ``tone`` colors it."""

    name: str
    text: str
    tone: str = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything in reading order.  ``plots`` are SVG."""

    title: str
    subtitle: str
    verdict: str
    is_good: bool
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    plots: tuple[str, ...]
    tables: tuple[Table, ...]
    footer: str


def headline(report: EndOfDayReport | RollUp) -> str:
    """Say the period in a sentence."""
    bridge = report.bridge
    told = f"P&L {cents(bridge.pnl):+,.2f} USD, equity {cents(bridge.equity_end):,.2f}; "
    return told + f"residual {cents(bridge.residual):,.2f}: {_verdict(report)}"


def _verdict(report: EndOfDayReport | RollUp) -> str:
    if isinstance(report, EndOfDayReport) and report.is_from_broker:
        closes = "closes" if report.bridge.is_reconciled else "does not close"
        return f"made from the broker alone; the bridge {closes}"
    balance = "the books balance" if report.is_reconciled else "NOT RECONCILED"
    return f"{balance}, provisional" if report.is_provisional else balance


def day_page(report: EndOfDayReport, *, is_drawn: bool) -> Page:
    """Lay a session out; ``is_drawn`` where the format has plots."""
    source = ", made from the broker alone" if report.is_from_broker else ""
    provisional = ", provisional" if report.is_provisional else ""
    return Page(
        title=f"End of day, {report.session_date:%A, %d %B %Y}",
        subtitle=f"openbell, {report.mode} account …{report.account_tail},"
        f" revision {report.revision}{provisional}{source}",
        verdict=_sentence(report),
        is_good=report.is_reconciled and not report.is_provisional,
        figures=_day_figures(report),
        notes=(*report.unknown, *report.doubts, *report.notes),
        plots=day_plots(report) if is_drawn else (),
        tables=day_tables(report),
        footer="Times are New York's. The bridge's two sides come from different books: equity and"
        " marks from the broker, executions and cash from the ledger.",
    )


def roll_up_page(roll_up: RollUp, *, is_drawn: bool) -> Page:
    """Lay a week or a month out."""
    tail = roll_up.days[-1]
    return Page(
        title=f"{roll_up.kind.capitalize()} {roll_up.name}",
        subtitle=f"openbell, {tail.mode} account …{tail.account_tail},"
        f" {len(roll_up.days)} sessions, {roll_up.first} to {roll_up.last}",
        verdict=_roll_up_sentence(roll_up),
        is_good=roll_up.is_reconciled and not roll_up.is_provisional,
        figures=_roll_up_figures(roll_up),
        notes=_roll_up_notes(roll_up),
        plots=roll_up_plots(roll_up) if is_drawn else (),
        tables=roll_up_tables(roll_up),
        footer="Each session as in its own end-of-day report, at the revision shown.",
    )


def _sentence(report: EndOfDayReport) -> str:
    if report.is_from_broker:
        closes = "closes to the cent" if report.bridge.is_reconciled else "does not close"
        return f"Made from the broker alone, without the database: the bridge {closes}."
    if not report.is_reconciled:
        return (
            "NOT RECONCILED: the next session opens reduce-only, until this or a later report"
            " balances or a person accepts the difference with: openbell reconcile --adopt"
        )
    return "The books balance; provisional." if report.is_provisional else "The books balance."


def _roll_up_sentence(roll_up: RollUp) -> str:
    if not roll_up.is_reconciled:
        return "NOT RECONCILED."
    return "The books balance; provisional." if roll_up.is_provisional else "The books balance."


def _roll_up_notes(roll_up: RollUp) -> tuple[str, ...]:
    notes = []
    if not roll_up.is_complete:
        notes.append(f"The {roll_up.kind} is not over.")
    if roll_up.missing:
        days = ", ".join(f"{date:%d %b}" for date in roll_up.missing)
        notes.append(f"No books of {days}; what moved then is in the session after.")
    unreported = [f"{day.session_date:%d %b}" for day in roll_up.days if day.revision == UNREPORTED]
    if unreported:
        told = "each is told as of its last reading"
        notes.append(f"No report was made of {', '.join(unreported)}; {told}.")
    open_days = [f"{day.session_date:%d %b}" for day in roll_up.days if day.is_provisional]
    if open_days:
        notes.append(f"Provisional: {', '.join(open_days)}.")
    return tuple(notes)


def _day_figures(report: EndOfDayReport) -> tuple[Figure, ...]:
    slippage = slippage_summary(report.trades)
    figures = [
        *_money_figures(report.bridge, report.bridge.earned_fraction),
        Figure(name="Drawdown", text=_drawdown(report)),
        Figure(name="Fills", text=str(len(report.fills))),
        Figure(name="Denied", text=str(len(report.denied))),
    ]
    if slippage is not None:
        told = f"{slippage['mean_bps']:+.1f} bps"
        figures.append(Figure(name="Slippage", text=told))
    return (*figures, _residual(report.bridge))


def _roll_up_figures(roll_up: RollUp) -> tuple[Figure, ...]:
    worst = max((point.value for point in roll_up.drawdown_curve), default=0)
    won = sum(day.bridge.pnl > 0 for day in roll_up.days)
    return (
        *_money_figures(roll_up.bridge, roll_up.earned_fraction),
        Figure(name="Deepest drawdown", text=f"{100 * worst:.2f} %"),
        Figure(name="Sessions won", text=f"{won} of {len(roll_up.days)}"),
        Figure(name="Fills", text=str(sum(len(day.fills) for day in roll_up.days))),
        _residual(roll_up.bridge),
    )


def _money_figures(bridge: Bridge, earned: Decimal | None) -> tuple[Figure, ...]:
    tone = GOOD if bridge.pnl >= 0 else BAD
    return (
        Figure(name="P&L", text=f"{cents(bridge.pnl):+,.2f}", tone=tone),
        Figure(name="of equity", text=percent(earned), tone=tone),
        Figure(name="Equity", text=f"{cents(bridge.equity_end):,.2f}"),
    )


def _drawdown(report: EndOfDayReport) -> str:
    worst = max((point.value for point in report.drawdown_curve), default=0)
    return f"{100 * worst:.2f} %"


def _residual(bridge: Bridge) -> Figure:
    tone = GOOD if bridge.is_reconciled else BAD
    return Figure(name="Residual", text=f"{cents(bridge.residual):,.2f}", tone=tone)
