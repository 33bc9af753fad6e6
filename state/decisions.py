"""Decisions: what a run saw, wished and combined, kept so that it can be explained."""

import datetime as dt
import functools
import json
import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

from domain.decisions import CombinedSignal
from domain.forecasts import Forecast
from domain.ids import Symbol
from domain.market import Bar, HeadlineRecord, MarketView
from domain.money import text
from domain.signals import SentimentScore, Signal
from state.rows import optional_text, stamp
from state.store import Store

Values = tuple[str | int | float | None, ...]

_NOTHING = float("nan")
_FIGURES = operator.attrgetter("open", "high", "low", "close", "volume")

_KEEP_HEADLINE = (
    "INSERT OR REPLACE INTO headlines VALUES (?1, ?2, ?3, ?4, min(?5, coalesce("
    " (SELECT min(seen_at) FROM headlines WHERE item_id = ?2), ?5)), ?6, ?7, ?8, ?9, ?10)"
)


class Decisions:
    """Stores one decision per run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        run_id: str,
        view: MarketView,
        signals: Sequence[Signal],
        combined: Sequence[CombinedSignal],
        headlines: Sequence[HeadlineRecord] = (),
    ) -> str:
        """Store the decision of a run, replacing an earlier one; return the view's hash."""
        digest = view_hash(view)
        head = (
            run_id,
            view.session.date.isoformat(),
            stamp(view.as_of),
            digest,
            text(view.account.equity),
            stamp(self._store.clock.now()),
        )
        with self._store.transaction() as connection:
            # The parts of an earlier decision of the run go with it.
            connection.execute("DELETE FROM decisions WHERE run_id = ?", (run_id,))
            connection.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)", head)
            for table, rows in (
                ("forecasts", [_forecast(item) for _, item in sorted(view.forecasts.items())]),
                ("sentiment", [_score(item) for _, item in sorted(view.sentiment.items())]),
                ("signals", [_signal(item) for item in signals]),
                ("combined_signals", [_combined(item) for item in combined]),
                ("view_symbols", [_seen(view, symbol) for symbol in _symbols(view)]),
            ):
                if rows:
                    places = ", ".join("?" * (len(rows[0]) + 1))
                    connection.executemany(
                        f"INSERT INTO {table} VALUES ({places})",  # noqa: S608 - fixed names
                        [(run_id, *row) for row in rows],
                    )
            # First seen is when the first decision saw it, whatever is told later.
            connection.executemany(_KEEP_HEADLINE, [_headline(run_id, one) for one in headlines])
        return digest

    def sentiment_before(self, session_date: dt.date) -> Mapping[Symbol, float]:
        """Return the scores of the last decision of an earlier session, by symbol."""
        rows = self._store.rows(
            "SELECT symbol, score FROM sentiment WHERE run_id = ("
            " SELECT run_id FROM decisions WHERE session_date < ?"
            " ORDER BY session_date DESC, as_of DESC LIMIT 1)",
            (session_date.isoformat(),),
        )
        return {Symbol(row["symbol"]): float(row["score"]) for row in rows}


def view_hash(view: MarketView) -> str:
    """Return the SHA-256 of everything the decision could know, in a fixed order."""
    digest = sha256()
    for part in _parts(view):
        digest.update(part)
        digest.update(b"\x1e")
    return digest.hexdigest()


def _parts(view: MarketView) -> Iterable[bytes]:
    yield repr((view.as_of, view.session, view.account)).encode()
    # The symbols of a view have the same few hundred moments.
    seconds = functools.cache(dt.datetime.timestamp)
    for symbol, bars in sorted(view.history.items()):
        yield symbol.encode()
        yield _packed(bars, seconds)
    for named in (
        view.forecasts,
        view.sentiment,
        view.positions,
        view.assets,
        view.excluded,
        view.reporting,
        view.ending,
    ):
        # Values are frozen dataclasses of plain fields, so repr() is complete and stable.
        yield repr(sorted(named.items(), key=lambda item: item[0])).encode()


def _packed(bars: Sequence[Bar], seconds: Callable[[dt.datetime], float]) -> bytes:
    figures: list[float] = []
    for bar in bars:
        told = _FIGURES(bar)
        if None in told:
            told = tuple(_NOTHING if figure is None else figure for figure in told)
        figures += (seconds(bar.at), *told)
    return struct.pack(f"<{len(figures)}d", *figures)


def _symbols(view: MarketView) -> list[Symbol]:
    return sorted({*view.history, *view.excluded, *view.positions})


def _forecast(item: Forecast) -> Values:
    return (
        item.symbol,
        stamp(item.as_of),
        item.horizon,
        json.dumps(item.levels),
        json.dumps(item.quantiles),
        item.mean,
        item.volatility,
        item.probability_up,
        item.source.value,
        item.model,
        item.model_hash,
        item.data_cutoff.isoformat(),
    )


def _score(item: SentimentScore) -> Values:
    return (
        item.symbol,
        item.score,
        item.label.value,
        item.confidence,
        item.source,
        item.headlines,
        stamp(item.newest_at) if item.newest_at is not None else None,
        stamp(item.as_of),
    )


def _headline(run_id: str, item: HeadlineRecord) -> Values:
    return (
        run_id,
        item.item_id,
        item.source,
        stamp(item.published_at),
        stamp(item.seen_at),
        item.headline,
        item.url,
        json.dumps(item.symbols),
        item.relevance,
        int(item.was_altered),
    )


def _signal(item: Signal) -> Values:
    return (
        item.symbol,
        item.strategy,
        item.action.value,
        item.strength,
        item.confidence,
        item.expected_return,
        item.volatility,
        item.horizon,
        item.reason,
    )


def _combined(item: CombinedSignal) -> Values:
    return (
        item.symbol,
        item.action.value,
        item.strength,
        item.confidence,
        item.expected_return,
        item.volatility,
        item.horizon,
        item.sentiment_tilt,
        item.kelly_weight,
        text(item.target_quantity),
        item.reason,
    )


def _seen(view: MarketView, symbol: Symbol) -> Values:
    bars = view.history.get(symbol)
    position = view.positions.get(symbol)
    return (
        symbol,
        stamp(bars[-1].at) if bars else None,
        optional_text(view.last_close(symbol)),
        text(position.quantity) if position is not None else "0",
        view.excluded.get(symbol),
    )
