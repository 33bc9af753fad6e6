"""Symbols in which only exits are allowed, because the books and the broker disagree."""

from collections.abc import Mapping

from domain.ids import Symbol
from state.store import Store


class SymbolLocks:
    """The locked symbols, each with its reason."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lock(self, symbol: Symbol, reason: str) -> None:
        """Lock a symbol; the newest reason is kept, repeats are not written."""
        with self._store.transaction():
            if self.all().get(symbol) != reason:
                self._store.append_within("symbol.locked", {"symbol": symbol, "reason": reason})

    def unlock(self, symbol: Symbol) -> bool:
        """Lift a lock; False when there was none."""
        with self._store.transaction():
            if symbol not in self.all():
                return False
            self._store.append_within("symbol.unlocked", {"symbol": symbol})
        return True

    def all(self) -> Mapping[Symbol, str]:
        """Return the locked symbols with their reasons."""
        rows = self._store.rows("SELECT symbol, reason FROM symbol_locks ORDER BY symbol")
        return {Symbol(row["symbol"]): row["reason"] for row in rows}
