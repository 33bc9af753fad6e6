"""Facts: small named values that ``status`` shows, such as ``mode`` or ``reconciled_at``."""

from state.store import Store


class Facts:
    """A table of names and texts.

    The reader knows: ``mode``, ``session_date``, ``session_phase``, ``reconciled_at``,
    ``forecast_source``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, **values: str) -> None:
        """Remember values by name."""
        raise NotImplementedError

    def get(self, name: str) -> str | None:
        """Return one value."""
        raise NotImplementedError
