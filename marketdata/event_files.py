"""Events from a file of one's own, for what no free vendor tells: earnings dates.

The columns are symbol, date and kind (``earnings``, ``split``, ...).
"""

import asyncio
import csv
import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

from domain.errors import DataError
from domain.ids import Symbol, is_symbol
from marketdata.events import CorporateEvent, EventKind

_COLUMNS = ("symbol", "date", "kind")


class FileEvents:
    """An EventSource over one CSV file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def events(
        self, symbols: Iterable[Symbol], start: dt.date, end: dt.date
    ) -> Sequence[CorporateEvent]:
        """Return the events of the dates ``start`` to ``end``, oldest first.

        Raises:
            DataError: the file is missing, or a line is not understood.
        """
        wanted = set(symbols)
        found = await asyncio.to_thread(self._read)
        inside = [one for one in found if one.symbol in wanted and start <= one.date <= end]
        return sorted(inside, key=lambda event: (event.date, event.symbol, event.kind))

    def _read(self) -> Sequence[CorporateEvent]:
        try:
            with self._path.open(newline="", encoding="utf-8-sig") as file:
                lines = csv.DictReader(file)
                names = [name.strip().lower() for name in lines.fieldnames or ()]
                if missing := [name for name in _COLUMNS if name not in names]:
                    raise DataError(f"{self._path} needs the column {missing[0]}")
                lines.fieldnames = names
                return [self._event(number, line) for number, line in enumerate(lines, 2)]
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise DataError(f"{self._path} cannot be read as CSV ({exc})") from exc

    def _event(self, number: int, line: dict[str, str | None]) -> CorporateEvent:
        symbol, date, kind = ((line[name] or "").strip() for name in _COLUMNS)
        try:
            if not is_symbol(symbol):
                raise ValueError(f"{symbol!r} is not a symbol")
            return CorporateEvent(
                symbol=Symbol(symbol),
                date=dt.date.fromisoformat(date),
                kind=EventKind(kind.lower()),
                detail=self._path.name,
            )
        except ValueError as exc:
            known = ", ".join(EventKind)
            raise DataError(
                f"{self._path}, line {number}: {exc}; kinds are {known}, dates 2022-12-14"
            ) from exc
