"""What every human format shows, as titled tables of text cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain.money import cents
from reports.model import EndOfDayReport, Row


@dataclass(frozen=True, slots=True)
class Table:
    """A title, headings, rows of text, and what to say when there is no row."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str


def tables(report: EndOfDayReport) -> tuple[Table, ...]:
    """Return the tables in reading order."""
    return (
        _bridge(report),
        _by_symbol(report),
        _rows("Orders", report.orders, _ORDER, "No order was sent."),
        _rows("Fills", report.fills, _FILL, "Nothing was filled."),
        _denied(report),
        _rows("Signals", report.signals, _SIGNAL, "No decision was made."),
        _rows("Forecasts", report.forecasts, _FORECAST, "No forecast was available."),
        _rows("Sentiment", report.sentiment, _SENTIMENT, "No headline was scored."),
        _rows("Runs", report.runs, _RUN, "No run was recorded."),
        _rows("Incidents", report.incidents, _INCIDENT, "Nothing went wrong."),
        _rows("Costs", report.costs, _COST, "Nothing was spent on remote services."),
    )


Column = tuple[str, Callable[[Row], str]]


def _of(key: str) -> Callable[[Row], str]:
    return lambda row: _cell(row.get(key))


def _share(key: str, digits: int = 1) -> Callable[[Row], str]:
    return lambda row: f"{100 * row[key]:.{digits}f} %"


def _time(key: str) -> Callable[[Row], str]:
    # UTC to the second is enough for a person; the JSON has the rest.
    return lambda row: f"{str(row[key])[:19].replace('T', ' ')}Z" if row.get(key) else "-"


_ORDER: tuple[Column, ...] = (
    ("symbol", _of("symbol")),
    ("side", _of("side")),
    ("quantity", _of("quantity")),
    ("limit", _of("limit_price")),
    ("state", _of("state")),
    ("filled", _of("filled_quantity")),
    ("avg price", _of("filled_avg_price")),
    ("why", _of("reason")),
)
_FILL: tuple[Column, ...] = (
    ("at", _time("at")),
    ("symbol", _of("symbol")),
    ("side", _of("side")),
    ("quantity", _of("quantity")),
    ("price", _of("price")),
    ("decided at", _of("decision_price")),
    ("slippage bps", _of("slippage_bps")),
    ("told by", _of("origin")),
)
_SIGNAL: tuple[Column, ...] = (
    ("symbol", _of("symbol")),
    ("action", _of("action")),
    ("confidence", _share("confidence")),
    ("strength", lambda row: f"{row['strength']:.2f}"),
    ("expected", _share("expected_return", 2)),
    ("Kelly weight", _share("kelly_weight", 2)),
    ("target", _of("target_quantity")),
    ("why", _of("reason")),
)
_FORECAST: tuple[Column, ...] = (
    ("symbol", _of("symbol")),
    ("source", _of("source")),
    ("model", _of("model")),
    ("sessions", _of("horizon")),
    ("P(up)", _share("probability_up")),
    ("confidence", _share("confidence")),
    ("low", lambda row: f"{100 * row['quantiles'][0]:+.1f} %"),
    ("middle", lambda row: f"{100 * row['quantiles'][len(row['quantiles']) // 2]:+.1f} %"),
    ("high", lambda row: f"{100 * row['quantiles'][-1]:+.1f} %"),
    ("data until", _of("data_cutoff")),
)
_SENTIMENT: tuple[Column, ...] = (
    ("symbol", _of("symbol")),
    ("label", _of("label")),
    ("score", lambda row: f"{row['score']:+.2f}"),
    ("confidence", _share("confidence")),
    ("source", _of("source")),
    ("headlines", _of("headlines")),
)
_RUN: tuple[Column, ...] = (
    ("run", _of("kind")),
    ("started", _time("started_at")),
    ("state", _of("state")),
    ("outcome", _of("reason")),
)
_INCIDENT: tuple[Column, ...] = (
    ("at", _time("at")),
    ("kind", _of("kind")),
    ("symbol", _of("symbol")),
    ("what", _of("text")),
)
_COST: tuple[Column, ...] = (
    ("at", _time("at")),
    ("provider", _of("provider")),
    ("USD", _of("amount_usd")),
    ("for", _of("detail")),
)


def _rows(title: str, rows: Sequence[Row], columns: Sequence[Column], empty: str) -> Table:
    return Table(
        title=title,
        headings=tuple(heading for heading, _ in columns),
        rows=tuple(tuple(read(row) for _, read in columns) for row in rows),
        empty=empty,
    )


def _bridge(report: EndOfDayReport) -> Table:
    bridge = report.bridge
    parts = (
        ("Equity before the session", bridge.equity_start, False),
        ("Realized P&L", bridge.realized_pnl, True),
        ("Change in unrealized P&L", bridge.unrealized_pnl_change, True),
        ("Fees", -bridge.fees, True),
        ("Dividends", bridge.dividends, True),
        ("Interest", bridge.interest, True),
        ("Deposits and withdrawals", bridge.transfers, True),
        ("Corporate actions and other", bridge.other, True),
        ("Unexplained residual", bridge.residual, True),
        ("Equity after the session", bridge.equity_end, False),
    )
    rows = tuple(
        (name, f"{cents(value):+,.2f}" if signed and value else f"{cents(value):,.2f}")
        for name, value, signed in parts
    )
    return Table("Account bridge", ("", "USD"), rows, "")


def _by_symbol(report: EndOfDayReport) -> Table:
    rows = tuple(
        (
            one.symbol,
            _cell(f"{one.quantity:f}"),
            f"{cents(one.value):,.2f}",
            f"{cents(one.realized_pnl):+,.2f}",
            f"{cents(one.unrealized_pnl_change):+,.2f}",
            f"{cents(one.pnl):+,.2f}",
        )
        for one in report.by_symbol
    )
    headings = ("symbol", "quantity", "value", "realized", "unrealized", "P&L")
    return Table("P&L by symbol", headings, rows, "Nothing was held or traded.")


def _denied(report: EndOfDayReport) -> Table:
    rows = tuple(
        (
            _cell(order["symbol"]),
            f"{order['side']} {order['quantity']}",
            _cell(check["limit"]),
            _cell(check["figure"]),
            _cell(check["bound"]),
        )
        for order in report.denied
        for check in order["checks"]
    )
    headings = ("symbol", "order", "denied by", "figure", "bound")
    return Table("Denied by our limits", headings, rows, "No order was denied.")


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)
