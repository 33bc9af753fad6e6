"""Symbols in which only exits are allowed, because the books and the broker disagree."""

from collections.abc import Mapping

from domain.ids import Symbol
from state.store import Store

MANUAL_LOCK = "manual:"
"""A lock whose reason starts with this is a person's, and only a person lifts it."""

LIMIT_LOCK = "limit:"
"""A lock whose reason starts with this ends when the holding is within its limits again."""

_ALSO = "; also "


def standing(before: str, reason: str) -> str:
    """Return the reason that stands when a locked symbol is locked once more.

    A break ends by itself; it takes along neither what a person nor what a limit locked.
    """
    if reason.startswith((MANUAL_LOCK, LIMIT_LOCK)) and not before.startswith(MANUAL_LOCK):
        return reason
    if before.startswith(LIMIT_LOCK):
        return f"{before.partition(_ALSO)[0]}{_ALSO}{reason}"
    is_kept = before.startswith(MANUAL_LOCK) and not reason.startswith(MANUAL_LOCK)
    return before if is_kept else reason


class SymbolLocks:
    """The locked symbols, each with its reason."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lock(self, symbol: Symbol, reason: str) -> None:
        """Lock a symbol; the reason that stands is kept, repeats are not written."""
        with self._store.transaction():
            before = self.all().get(symbol)
            reason = standing(before or "", reason)
            if before != reason:
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
