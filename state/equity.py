"""Snapshots of equity and holdings, for plots and for the figures of ``status``."""

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal

from domain.account import Position
from domain.money import decimal, text
from state.rows import stamp
from state.store import Store

# Gone from both books: a list of the broker's may lack for a moment what is held.
_FORGET = (
    "DELETE FROM marks WHERE symbol NOT IN (SELECT value FROM json_each(?))"
    " AND symbol NOT IN (SELECT symbol FROM positions WHERE quantity <> '0')"
)


class EquityCurve:
    """Points of the equity and position plots."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        at: dt.datetime,
        *,
        session_date: dt.date,
        equity: Decimal,
        cash: Decimal,
        positions: Sequence[Position] = (),
    ) -> None:
        """Store one point, replacing one of the same moment; prices become the last marks.

        What is held no more loses its mark: bought again, it is not worth the price of then.
        """
        moment = stamp(at)
        held = sorted(positions, key=lambda position: position.symbol)
        marks = [
            (position.symbol, text(position.market_price), moment)
            for position in held
            if position.market_price is not None
        ]
        points = [
            (
                moment,
                position.symbol,
                text(position.quantity),
                text(
                    position.market_price
                    if position.market_price is not None
                    else position.avg_entry_price
                ),
            )
            for position in held
        ]
        point = (moment, session_date.isoformat(), text(decimal(equity)), text(decimal(cash)))
        with self._store.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?)", point)
            connection.execute("DELETE FROM position_points WHERE at = ?", (moment,))
            connection.executemany("INSERT INTO position_points VALUES (?, ?, ?, ?)", points)
            connection.execute(_FORGET, (json.dumps([position.symbol for position in held]),))
            connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", marks)

    def has(self, session_date: dt.date) -> bool:
        """Tell whether a session has a point."""
        query = "SELECT 1 FROM equity WHERE session_date = ? LIMIT 1"
        return self._store.row(query, (session_date.isoformat(),)) is not None

    def last(self) -> Decimal | None:
        """Return the newest equity; None before the first point."""
        row = self._store.row("SELECT equity FROM equity ORDER BY at DESC LIMIT 1")
        return decimal(row["equity"]) if row is not None else None
