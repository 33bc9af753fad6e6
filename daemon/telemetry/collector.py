"""Gauges that are read from the state at the moment of a scrape."""

import datetime as dt
import threading
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.config import Config, state_directory
from daemon.log_setup import SINK
from daemon.telemetry.metrics import Meters
from daemon.telemetry.vitals import Vitals
from domain.clock import Clock
from domain.errors import StateError
from domain.money import decimal
from domain.orders import OrderState
from domain.trading_state import TradingState
from state.fact_words import AGREES
from state.figures import Figures
from state.reader import Reader
from transport.breaker import BreakerState

Family = GaugeMetricFamily | CounterMetricFamily
_MOST_SYMBOLS = 50
_ENDED_RUNS = ("RUNNING", "DONE", "SKIPPED", "FAILED")


class StateCollector(Collector):
    """Reads the database once per scrape; a state that cannot be read leaves a gap and says so."""

    def __init__(self, config: Config, *, clock: Clock, vitals: Vitals, meters: Meters) -> None:
        self._config = config
        self._directory = state_directory(config)
        self._clock = clock
        self._vitals = vitals
        self._meters = meters
        self._observing = threading.Lock()
        session = self._session()
        with Figures(self._directory) as figures:
            # What happened before this process is not its latency.
            self._fill_sequence = figures.newest_fill()
            self._acknowledged = session, set(figures.acknowledgements(session))

    def describe(self) -> Iterable[Family]:
        """Name nothing in advance: the registry must not scrape to register."""
        return ()

    def collect(self) -> Iterable[Family]:
        """Return every gauge; called in a thread of its own."""
        try:
            found = [*self._money(), *self._work(), *self._limits(), *self._services()]
        except StateError:
            yield _gauge("state_readable", "1 when the database could be read.", 0)
            return
        yield _gauge("state_readable", "1 when the database could be read.", 1)
        yield from found

    def observe_executions(self) -> None:
        """Feed latencies and slippage of what happened since the last call."""
        session = self._session()
        # Each scrape has a thread of its own, and two of them must not count the same twice.
        with self._observing, Figures(self._directory) as figures:
            self._observe_answers(figures, session)
            for executed in figures.executed_after(self._fill_sequence):
                self._fill_sequence = max(self._fill_sequence, executed.sequence)
                if executed.latency_seconds is not None:
                    self._meters.order_fill.observe(max(0.0, executed.latency_seconds))
                if executed.slippage_bps is not None:
                    self._meters.slippage.observe(executed.slippage_bps)

    def _session(self) -> str:
        with Reader(self._directory) as reader:
            return str(reader.status()["session"]["date"] or "")

    def _observe_answers(self, figures: Figures, session: str) -> None:
        if self._acknowledged[0] != session:
            self._acknowledged = (session, set())
        for order_id, seconds in figures.acknowledgements(session).items():
            if order_id not in self._acknowledged[1]:
                self._acknowledged[1].add(order_id)
                self._meters.order_ack.observe(max(0.0, seconds))

    def _money(self) -> Iterable[Family]:
        with Reader(self._directory) as reader:
            status, positions, reports = reader.status(), reader.positions(), reader.reports()
            is_waited_for = reader.unbalanced() is not None
        yield from _known(
            ("equity_usd", "Account equity.", status["equity"]),
            ("cash_usd", "Settled cash.", status["cash"]),
            ("high_water_mark_usd", "Highest equity, net of flows.", status["high_water_mark"]),
            ("drawdown_ratio", "Below the high-water mark, 0-1.", _ratio(status["drawdown_pct"])),
            ("daily_pnl_usd", "Gained since the session began, less flows.", status["daily_pnl"]),
            ("daily_pnl_ratio", "The same of the capital in it.", _ratio(status["daily_pnl_pct"])),
            ("equity_timestamp_seconds", "When equity was read.", _epoch(status["equity_at"])),
        )
        values = {row["symbol"]: decimal(row["market_value"]) for row in positions}
        longs = sum((value for value in values.values() if value > 0), decimal(0))
        shorts = -sum((value for value in values.values() if value < 0), decimal(0))
        exposure = {
            "long": longs,
            "short": shorts,
            "gross": longs + shorts,
            "net": longs - shorts,
        }
        yield _labeled("exposure_usd", "Market value of holdings.", "kind", exposure)
        yield _labeled("position_value_usd", "By symbol.", "symbol", _largest(values))
        yield from _known(
            ("positions", "Symbols held.", len(positions)),
            ("unrealized_pnl_usd", "Of all holdings.", _whole(positions, "unrealized_pnl")),
        )
        if reports:
            yield from _known(
                ("report_residual_usd", "What the last report left.", reports[0]["residual"]),
                ("report_reconciled", "1 when it balanced.", reports[0]["is_reconciled"]),
                ("report_unbalanced", "1 when not, and nobody accepted that.", is_waited_for),
            )

    def _work(self) -> Iterable[Family]:
        with Reader(self._directory) as reader:
            status = reader.status()
        session = str(status["session"]["date"] or "")
        with Figures(self._directory) as figures:
            orders = figures.orders_by_state(session)
            yield _labeled(
                "session_orders",
                "Orders of the session by state.",
                "state",
                {state.value: orders.get(state.value, 0) for state in OrderState},
            )
            yield _labeled(
                "session_denials",
                "Limits that refused an order of the session.",
                "limit",
                figures.denials_by_limit(session),
            )
            yield self._signals(figures)
            yield _labeled(
                "forecasts",
                "Forecasts of the newest decision.",
                "source",
                {source: figures.forecasts().get(source, 0) for source in ("remote", "local")},
            )
            yield from self._forecast_figures(figures)
            yield CounterMetricFamily("openbell_fills", "Executions booked.", value=figures.fills())
            yield CounterMetricFamily(
                "openbell_events", "Events in the log.", value=figures.newest_event()
            )
            runs = figures.runs_by_state()
            yield _labeled(
                "recorded_runs",
                "Runs on record by how they ended.",
                "state",
                {state: runs.get(state, 0) for state in _ENDED_RUNS},
            )
            yield self._run_ends(figures)
        yield from _known(
            ("open_orders", "Orders that may be working.", status["open_orders"]),
            ("unknown_orders", "Orders without a clear answer.", status["unknown_orders"]),
            ("locked_symbols", "Symbols that may only be exited.", len(status["locked_symbols"])),
        )

    def _run_ends(self, figures: Figures) -> Family:
        # A counter that rises before the first scrape, or while the host slept, alerts nobody.
        family = GaugeMetricFamily(
            "openbell_run_ended_timestamp_seconds",
            "When a run of this phase last ended so.",
            labels=("kind", "state"),
        )
        for (kind, state), at in figures.run_ends().items():
            family.add_metric((kind, state), at.timestamp())
        return family

    def _signals(self, figures: Figures) -> Family:
        family = GaugeMetricFamily(
            "openbell_signals",
            "Signals of the newest decision.",
            labels=("strategy", "action"),
        )
        for (strategy, action), count in figures.signals().items():
            family.add_metric((strategy, action), count)
        return family

    def _forecast_figures(self, figures: Figures) -> Iterable[Family]:
        accuracy = figures.accuracy()
        yield _labeled(
            "forecast_directional_accuracy_ratio",
            "Share of matured forecasts with the right direction.",
            "source",
            {source: hits / n for source, (n, hits, _) in accuracy.items()},
        )
        yield _labeled(
            "matured_forecasts",
            "Forecasts behind that share.",
            "source",
            {source: n for source, (n, *_) in accuracy.items()},
        )
        yield _labeled(
            "forecast_demoted",
            "1 for a source whose track record keeps it from being used.",
            "source",
            figures.demoted(),
        )
        at = figures.newest_decision_at()
        yield from _known(
            ("forecast_confidence_ratio", "Mean of the newest.", figures.mean_confidence()),
            (
                "decision_timestamp_seconds",
                "When the newest decision looked at the market.",
                at.timestamp() if at else None,
            ),
        )

    def _limits(self) -> Iterable[Family]:
        risk, costs = self._config.risk, self._config.costs
        yield _labeled(
            "risk_limit_ratio",
            "Limits of the configuration, 0-1.",
            "limit",
            {
                name: float(getattr(risk, f"{name}_pct")) / 100
                for name in (
                    "max_drawdown",
                    "max_daily_loss",
                    "reduce_at_daily_loss",
                    "max_position",
                    "max_gross",
                )
            },
        )
        yield _labeled(
            "cost_budget_usd",
            "Budgets of the configuration.",
            "period",
            {"gpu_day": costs.gpu_daily_budget_usd, "month": costs.monthly_budget_usd},
        )
        now = self._clock.now().date()
        with Reader(self._directory) as reader:
            booked = reader.costs(now.replace(day=1), now)
        yield _labeled("cost_usd", "Booked costs.", "period", _spent(booked, now))

    def _services(self) -> Iterable[Family]:
        with Reader(self._directory) as reader:
            status = reader.status()
        yield _labeled(
            "trading_state",
            "1 for the state that holds.",
            "state",
            {state.value: float(state == status["trading_state"]) for state in TradingState},
        )
        family = GaugeMetricFamily(
            "openbell_breaker_state", "1 for the state that holds.", labels=("name", "state")
        )
        for name, found in status["breakers"].items():
            for state in BreakerState:
                family.add_metric((name, state.value), float(state == found))
        yield family
        yield CounterMetricFamily(
            "openbell_reconcile_failures",
            "Looks of the watch that the broker did not answer.",
            value=self._vitals.failed_looks,
        )
        yield CounterMetricFamily(
            "openbell_log_lines_dropped", "Log lines that nothing took.", value=SINK.dropped
        )
        upcoming = self._vitals.next_run
        yield from _known(
            ("kill_latch_engaged", "1 while nothing may be sent.", status["kill"]["engaged"]),
            ("paused", "1 while a person paused entries.", status["paused"] is not None),
            (
                "reconcile_timestamp_seconds",
                "When the books last were compared.",
                _epoch(status["reconciled_at"]),
            ),
            (
                "market_check_passed",
                "1 while calendar and clock agree with the broker's.",
                status["market_check"] in (None, AGREES),
            ),
            (
                "backup_timestamp_seconds",
                "When a backup last passed its restore test; 0 for never.",
                _epoch(status["backup_at"]) or 0,
            ),
            (
                "next_run_timestamp_seconds",
                "When the schedule rings next.",
                upcoming[1].timestamp() if upcoming else None,
            ),
            ("clock_timestamp_seconds", "The daemon's time.", self._clock.now().timestamp()),
            ("database_size_bytes", "Size of the database.", _size(self._directory)),
        )


def exposition(meters: Meters, collector: StateCollector) -> bytes:
    """Return the text of ``/metrics``."""
    try:
        collector.observe_executions()
    except StateError:
        # The scrape itself says that the state cannot be read.
        return generate_latest(meters.registry)
    return generate_latest(meters.registry)


def _known(*figures: tuple[str, str, Any]) -> Iterable[Family]:
    for name, text, value in figures:
        if value is not None:
            yield _gauge(name, text, value)


def _gauge(name: str, text: str, value: Any) -> Family:
    return GaugeMetricFamily(f"openbell_{name}", text, value=float(value))


def _labeled(name: str, text: str, label: str, values: Mapping[str, Any]) -> Family:
    family = GaugeMetricFamily(f"openbell_{name}", text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), float(value))
    return family


def _whole(rows: Sequence[Mapping[str, Any]], name: str) -> Decimal | None:
    """A sum without one of its parts would be another figure."""
    parts = [row[name] for row in rows]
    return None if None in parts else sum(map(decimal, parts), decimal(0))


def _largest(values: Mapping[str, Any]) -> Mapping[str, Any]:
    ranked = sorted(values, key=lambda symbol: (-abs(values[symbol]), symbol))
    kept = {symbol: values[symbol] for symbol in ranked[:_MOST_SYMBOLS]}
    if rest := ranked[_MOST_SYMBOLS:]:
        kept["other"] = sum((values[symbol] for symbol in rest), decimal(0))
    return kept


def _spent(booked: list[dict[str, Any]], today: dt.date) -> Mapping[str, float]:
    month = sum(float(row["amount_usd"]) for row in booked)
    gpu = [row for row in booked if row["provider"] == "gpu"]
    day = sum(float(row["amount_usd"]) for row in gpu if row["at"][:10] == today.isoformat())
    return {"gpu_day": day, "month": month}


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _epoch(text: str | None) -> float | None:
    return dt.datetime.fromisoformat(text).timestamp() if text else None


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("openbell.db*"))
