"""What a checker goes by: the database as a stranger reads it, and what people did meanwhile.

Each check returns the violations that it saw, as (invariant, text); the checkers go by the
broker's log and raw SQL, by nothing of the product's code.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import takewhile
from pathlib import Path

from tests.simulation.truth import Truth

Violations = list[tuple[str, str]]
ZERO = Decimal(0)


@contextmanager
def reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the database as a stranger: only what is committed is seen."""
    connection = sqlite3.connect(f"file:{directory / 'openbell.db'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def hand_traded(truth: Truth, symbol: str) -> bool:
    # A person who trades in the same minutes races the gate; that is named, not ours.
    return any(name == symbol and truth.loop.moment - at < 1200 for at, name in truth.hand_trades)


def slipped_in_lately(truth: Truth, symbol: str) -> bool:
    """Tell whether shares moved that no activity told, since a kill may have read positions."""
    # Found as seed 32000030: they moved three seconds after the list was read.
    recent = takewhile(lambda entry: truth.loop.moment - entry[0] < 60, reversed(truth.log))
    return any(entry[1] == "slipped in" and entry[2] == symbol for entry in recent)
