"""A table of text cells, and how values become such cells."""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from domain.money import cents, decimal, text
from reports.model import Row

_NEW_YORK = ZoneInfo("America/New_York")
_WORDS = frozenset({"-", ""})


@dataclass(frozen=True, slots=True)
class Table:
    """A title, headings, rows of text, and what to say when there is no row.

    ``total`` tells that the last row is the sum of those above.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str
    total: bool = False
    is_long: bool = False

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only: they are set flush right."""
        columns = zip(*self.rows, strict=True) if self.rows else ()
        return tuple(all(map(_is_number, column)) for column in columns)


def _is_number(written: str) -> bool:
    if written in _WORDS:
        return True
    bare = written.replace(",", "").removesuffix(" %").removesuffix(" bps").strip()
    try:
        float(bare)
    except ValueError:
        return False
    return True


Column = tuple[str, Callable[[Row], str]]


def rows_table(
    title: str, rows: Sequence[Row], columns: Sequence[Column], empty: str, *, is_long: bool = False
) -> Table:
    """Return a table of documents, one a row."""
    return Table(
        title=title,
        headings=tuple(heading for heading, _ in columns),
        rows=tuple(tuple(read(row) for _, read in columns) for row in rows),
        empty=empty,
        is_long=is_long,
    )


def cell(value: object) -> str:
    """Return a value as text; a dash where there is none."""
    return "-" if value is None or value == "" else str(value)


def money(value: Decimal, *, signed: bool = True) -> str:
    """Return USD to the cent."""
    return f"{cents(value):+,.2f}" if signed and value else f"{cents(value):,.2f}"


def percent(fraction: Decimal | None) -> str:
    """Return a signed fraction in percent."""
    return "-" if fraction is None else f"{100 * fraction:+.2f} %"


def of(key: str) -> Callable[[Row], str]:
    """Read a column as it is."""
    return lambda row: cell(row.get(key))


def price(key: str) -> Callable[[Row], str]:
    """Read a price to a hundredth of a cent."""
    return lambda row: "-" if row.get(key) is None else text(round(decimal(row[key]), 4))


def share(key: str, digits: int = 1) -> Callable[[Row], str]:
    """Read a fraction in percent."""
    return lambda row: "-" if row.get(key) is None else f"{100 * row[key]:.{digits}f} %"


def grown(log_return: float, digits: int = 1) -> str:
    """Return what a price does in percent: -50.0 % where its log return is -0.69."""
    return f"{100 * math.expm1(log_return):+.{digits}f} %"


def clock(key: str) -> Callable[[Row], str]:
    """Read a moment as New York's time, to the second: the JSON has the rest."""
    return lambda row: at_text(row.get(key))


def at_text(written: object) -> str:
    """Return a stored moment as New York's time."""
    if not written:
        return "-"
    at = dt.datetime.fromisoformat(str(written)).astimezone(_NEW_YORK)
    return f"{at:%Y-%m-%d %H:%M:%S}"
