"""What the reports show, as titled tables of text cells."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from domain.money import ZERO
from reports.model import Bridge, EndOfDayReport, RollUp, Row, StrategyPnl, SymbolPnl, Tomorrow
from reports.table import (
    Column,
    Table,
    cell,
    clock,
    grown,
    money,
    of,
    percent,
    price,
    rows_table,
    share,
)
from reports.trades import slippage_summary

_NEW_YORK = ZoneInfo("America/New_York")


def day_tables(report: EndOfDayReport) -> tuple[Table, ...]:
    """Return the tables of a session in reading order."""
    return (
        bridge_table(report.bridge, "session"),
        by_strategy_table(report.by_strategy, report.bridge),
        by_symbol_table(report.by_symbol),
        _activities(report),
        _trades(report),
        _denied(report),
        rows_table("Symbols left out", report.excluded, _EXCLUDED, "Every symbol took part."),
        rows_table("Incidents", report.incidents, _INCIDENT, "Nothing went wrong."),
        rows_table("Forecasts that matured", report.matured, _MATURED, "None matured."),
        _spending(report),
        tomorrow_table(report.tomorrow),
        rows_table("Orders", report.orders, _ORDER, "No order was sent."),
        rows_table("Fills", report.fills, _FILL, "Nothing was filled."),
        rows_table("Signals", report.signals, _SIGNAL, "No decision was made.", is_long=True),
        rows_table(
            "Forecasts", report.forecasts, _FORECAST, "No forecast was available.", is_long=True
        ),
        rows_table(
            "Sentiment", report.sentiment, _SENTIMENT, "No headline was scored.", is_long=True
        ),
        rows_table("Runs", report.runs, _RUN, "No run was recorded."),
        rows_table(
            "Costs", report.costs, _COST, "Nothing was spent on remote services.", is_long=True
        ),
    )


def roll_up_tables(roll_up: RollUp) -> tuple[Table, ...]:
    """Return the tables of a week or a month in reading order."""
    return (
        bridge_table(roll_up.bridge, roll_up.kind),
        by_strategy_table(roll_up.by_strategy, roll_up.bridge),
        by_symbol_table(roll_up.by_symbol),
        _sessions(roll_up),
        _slippage(roll_up),
        _denied_by_limit(roll_up),
        _matured_by_source(roll_up),
        _spent(roll_up),
        rows_table(
            "Incidents",
            [row for day in roll_up.days for row in day.incidents],
            _INCIDENT,
            "Nothing went wrong.",
            is_long=True,
        ),
        tomorrow_table(roll_up.days[-1].tomorrow),
    )


_ORDER: tuple[Column, ...] = (
    ("symbol", of("symbol")),
    ("side", of("side")),
    ("quantity", of("quantity")),
    ("limit", of("limit_price")),
    ("state", of("state")),
    ("filled", of("filled_quantity")),
    ("avg price", of("filled_avg_price")),
    ("why", of("reason")),
)
_FILL: tuple[Column, ...] = (
    ("at", clock("at")),
    ("symbol", of("symbol")),
    ("side", of("side")),
    ("quantity", of("quantity")),
    ("price", of("price")),
    ("decided at", of("decision_price")),
    ("slippage bps", of("slippage_bps")),
    ("told by", of("origin")),
)
_TRADE: tuple[Column, ...] = (
    ("symbol", of("symbol")),
    ("side", of("side")),
    ("quantity", of("quantity")),
    ("signal", of("signal")),
    ("P", share("confidence")),
    ("behind it", of("strategies")),
    ("forecast", of("forecast_source")),
    ("age, min", of("forecast_age_minutes")),
    ("its P", share("forecast_confidence")),
    ("arrival", of("arrival_price")),
    ("fill", price("fill_price")),
    ("bps", of("slippage_bps")),
    ("assumed", of("assumed_bps")),
    ("USD", of("slippage_usd")),
)
_MATURED: tuple[Column, ...] = (
    ("symbol", of("symbol")),
    ("source", of("source")),
    ("model", of("model")),
    ("made from data of", of("data_cutoff")),
    ("sessions", of("horizon")),
    ("P(up)", share("probability_up")),
    ("base rate", share("base_rate")),
    ("came", lambda row: grown(row["outcome"], 2)),
    ("right", lambda row: "yes" if row["was_right"] else "no"),
    ("in 80 % band", lambda row: "yes" if row["is_inside_80"] else "no"),
)
_SIGNAL: tuple[Column, ...] = (
    ("symbol", of("symbol")),
    ("action", of("action")),
    ("confidence", share("confidence")),
    ("strength", lambda row: f"{row['strength']:.2f}"),
    ("expected", share("expected_return", 2)),
    ("Kelly weight", share("kelly_weight", 2)),
    ("target", of("target_quantity")),
    ("why", of("reason")),
)
_FORECAST: tuple[Column, ...] = (
    ("symbol", of("symbol")),
    ("source", of("source")),
    ("model", of("model")),
    ("sessions", of("horizon")),
    ("P(up)", share("probability_up")),
    ("confidence", share("confidence")),
    ("low", lambda row: grown(row["quantiles"][0])),
    ("middle", lambda row: grown(row["quantiles"][len(row["quantiles"]) // 2])),
    ("high", lambda row: grown(row["quantiles"][-1])),
    ("data until", of("data_cutoff")),
)
_SENTIMENT: tuple[Column, ...] = (
    ("symbol", of("symbol")),
    ("label", of("label")),
    ("score", lambda row: f"{row['score']:+.2f}"),
    ("confidence", share("confidence")),
    ("source", of("source")),
    ("headlines", of("headlines")),
)
_RUN: tuple[Column, ...] = (
    ("run", of("kind")),
    ("started", clock("started_at")),
    ("state", of("state")),
    ("outcome", of("reason")),
)
_INCIDENT: tuple[Column, ...] = (
    ("at", clock("at")),
    ("kind", of("kind")),
    ("symbol", of("symbol")),
    ("what", of("text")),
)
_EXCLUDED: tuple[Column, ...] = (("symbol", of("symbol")), ("why", of("reason")))
_COST: tuple[Column, ...] = (
    ("at", clock("at")),
    ("provider", of("provider")),
    ("USD", of("amount_usd")),
    ("for", of("detail")),
)


def bridge_table(bridge: Bridge, period: str) -> Table:
    """Return the way from equity to equity."""
    rows = (
        (f"Equity before the {period}", money(bridge.equity_start, signed=False)),
        ("Realized P&L", money(bridge.realized_pnl)),
        ("Change in unrealized P&L", money(bridge.unrealized_pnl_change)),
        ("Fees", money(-bridge.fees)),
        ("Dividends", money(bridge.dividends)),
        ("Interest", money(bridge.interest)),
        ("Deposits and withdrawals", money(bridge.transfers)),
        ("Corporate actions and other", money(bridge.other)),
        ("Unexplained residual", money(bridge.residual)),
        (f"Equity after the {period}", money(bridge.equity_end, signed=False)),
    )
    return Table("Account bridge", ("", "USD"), rows, "", total=True)


def _activities(report: EndOfDayReport) -> Table:
    columns: tuple[Column, ...] = (
        ("at", clock("at")),
        ("kind", of("kind")),
        ("symbol", of("symbol")),
        ("USD", of("cash")),
        ("broker's activity", of("activity_id")),
        ("what", of("description")),
        ("explains the residual", lambda row: "maybe" if row["may_explain"] else ""),
    )
    shown = columns if report.bridge.residual else columns[:-1]
    empty = "No fee, dividend, interest or transfer was booked."
    return rows_table("Booked besides executions", report.activities, shown, empty)


def by_strategy_table(parts: Sequence[StrategyPnl], bridge: Bridge) -> Table:
    """Return the P&L of each strategy, and what belongs to none of them."""
    rows = [(one.strategy, ", ".join(one.symbols), money(one.pnl)) for one in parts]
    earned = sum((one.pnl for one in parts), ZERO)
    if rows:
        rest = bridge.pnl - bridge.realized_pnl - bridge.unrealized_pnl_change
        rows += [
            ("fees, dividends, interest, other", "", money(rest)),
            ("all", "", money(earned + rest)),
        ]
    headings = ("strategy", "symbols", "P&L")
    return Table(
        "P&L by strategy", headings, tuple(rows), "Nothing was held or traded.", total=True
    )


def by_symbol_table(parts: Sequence[SymbolPnl]) -> Table:
    """Return the P&L of each symbol."""
    rows: list[tuple[str, ...]] = [
        (
            one.symbol,
            f"{one.quantity:f}",
            money(one.value, signed=False),
            money(one.realized_pnl),
            money(one.unrealized_pnl_change),
            money(one.pnl),
        )
        for one in parts
    ]
    if rows:
        sums = [
            sum((read(one) for one in parts), ZERO) for read in (_realized, _unrealized, _whole)
        ]
        value = sum((one.value for one in parts), ZERO)
        rows.append(("all", "", money(value, signed=False), *map(money, sums)))
    headings = ("symbol", "quantity", "value", "realized", "unrealized", "P&L")
    return Table("P&L by symbol", headings, tuple(rows), "Nothing was held or traded.", total=True)


def _realized(one: SymbolPnl) -> Decimal:
    return one.realized_pnl


def _unrealized(one: SymbolPnl) -> Decimal:
    return one.unrealized_pnl_change


def _whole(one: SymbolPnl) -> Decimal:
    return one.pnl


def _trades(report: EndOfDayReport) -> Table:
    table = rows_table("Trades", report.trades, _TRADE, "Nothing was traded.")
    summary = slippage_summary(report.trades)
    if summary is None:
        return table
    last = ("all", *("" for _ in _TRADE[1:-3]))
    figures = (
        f"{summary['mean_bps']:.1f}",
        f"{summary['assumed_bps']:f}",
        f"{summary['cost_usd']:f}",
    )
    return Table(
        table.title, table.headings, (*table.rows, (*last, *figures)), table.empty, total=True
    )


def _denied(report: EndOfDayReport) -> Table:
    rows = tuple(
        (
            cell(order["symbol"]),
            f"{order['side']} {order['quantity']}",
            cell(check["limit"]),
            cell(check["figure"]),
            cell(check["bound"]),
        )
        for order in report.denied
        for check in order["checks"]
    )
    headings = ("symbol", "order", "denied by", "figure", "bound")
    return Table("Denied by our limits", headings, rows, "No order was denied.")


def _spending(report: EndOfDayReport) -> Table:
    rows = tuple(
        (
            one.name,
            money(one.spent, signed=False),
            "-" if one.budget is None else money(one.budget, signed=False),
            f"{100 * one.spent / one.budget:.1f} %" if one.budget else "-",
        )
        for one in report.spending
    )
    headings = ("remote services", "spent, USD", "budget, USD", "used")
    return Table("Costs against budgets", headings, rows, "Nothing is known of costs.")


def tomorrow_table(tomorrow: Tomorrow | None) -> Table:
    """Return the next session's calendar."""
    title, headings = "The next session", ("", "")
    if tomorrow is None:
        return Table(title, headings, (), "No session is known after this one.")
    opens, closes = (
        f"{at.astimezone(_NEW_YORK):%H:%M}" for at in (tomorrow.opens_at, tomorrow.closes_at)
    )
    hours = f"{opens} to {closes}{', a half day' if tomorrow.is_half_day else ''}"
    closed = ", ".join(f"{date:%A, %d %B}" for date in tomorrow.closed_between)
    rows = [("Day", f"{tomorrow.date:%A, %d %B %Y}"), ("Open, New York time", hours)]
    if closed:
        rows.append(("Closed before it", closed))
    return Table(title, headings, tuple(rows), "")


def _sessions(roll_up: RollUp) -> Table:
    rows = tuple(
        (
            f"{day.session_date:%a %d %b}",
            money(day.bridge.pnl),
            percent(day.bridge.earned_fraction),
            money(day.bridge.equity_end, signed=False),
            f"{100 * max((p.value for p in day.drawdown_curve), default=ZERO):.2f} %",
            str(len(day.fills)),
            str(len(day.denied)),
            str(len(day.incidents)),
            money(day.bridge.residual),
            str(day.revision or "-"),
        )
        for day in roll_up.days
    )
    headings = (
        "session",
        "P&L",
        "of equity",
        "equity",
        "drawdown",
        "fills",
        "denied",
        "incidents",
        "residual",
        "revision",
    )
    return Table("Sessions", headings, rows, "")


def _slippage(roll_up: RollUp) -> Table:
    rows = []
    for day in roll_up.days:
        summary = slippage_summary(day.trades)
        if summary is not None:
            figures = (summary["mean_bps"], summary["assumed_bps"])
            told = (f"{figures[0]:.1f}", f"{figures[1]:f}", money(summary["cost_usd"]))
            rows.append((f"{day.session_date:%a %d %b}", str(len(day.trades)), *told))
    headings = ("session", "trades", "bps", "assumed", "USD")
    return Table("Slippage against the assumption", headings, tuple(rows), "Nothing was traded.")


def _denied_by_limit(roll_up: RollUp) -> Table:
    counts = Counter(
        str(check["limit"])
        for day in roll_up.days
        for order in day.denied
        for check in order["checks"]
    )
    rows = tuple((name, str(count)) for name, count in sorted(counts.items()))
    return Table("Denied by our limits", ("limit", "orders"), rows, "No order was denied.")


def _matured_by_source(roll_up: RollUp) -> Table:
    scored: dict[str, list[Row]] = {}
    for day in roll_up.days:
        for row in day.matured:
            scored.setdefault(f"{row['source']} {row['model']}", []).append(row)
    rows = tuple(
        (
            name,
            str(len(found)),
            f"{100 * sum(row['was_right'] for row in found) / len(found):.1f} %",
            f"{100 * sum(row['is_inside_80'] for row in found) / len(found):.1f} %",
        )
        for name, found in sorted(scored.items())
    )
    headings = ("source", "matured", "direction right", "in 80 % band")
    return Table("Forecasts that matured", headings, rows, "None matured.")


def _spent(roll_up: RollUp) -> Table:
    sums: dict[str, Decimal] = {}
    for day in roll_up.days:
        for row in day.costs:
            sums[row["provider"]] = sums.get(row["provider"], ZERO) + Decimal(row["amount_usd"])
    rows = tuple((name, money(amount, signed=False)) for name, amount in sorted(sums.items()))
    return Table("Costs", ("provider", "USD"), rows, "Nothing was spent on remote services.")
