"""How often each row of the fault table fired: the classes of `faults.py` name their rows."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

GOAL = 100
# What a person or a market does is no fault, and yet part of the days.
NO_FAULT = frozenset(
    {
        *("operator.pause", "setup.short", "setup.stops", "setup.limits", "setup.strategies"),
        *("setup.odd_prices", "setup.nights", "setup.losses", "forecast.undecided", "market.swing"),
        *("operator.accept", "operator.mistaken", "process.deployed", "forecast.steady"),
    }
)
_FAULTS = Path(__file__).with_name("faults.py")
_SIMULATED = re.compile(r'^    "([\w.]+)": \([\d., ]+\),(.*)$', re.MULTILINE)
_ROW = re.compile(r"\b([A-Z]\d{2})\b")


def rows_of_classes() -> dict[str, list[str]]:
    """Return the rows that each fault class plays, by class."""
    text = _FAULTS.read_text(encoding="utf-8")
    return {name: _ROW.findall(comment) for name, comment in _SIMULATED.findall(text)}


def by_row(fired: Mapping[str, int]) -> dict[str, int]:
    """Add the firings of all classes of each row up."""
    counts: Counter[str] = Counter()
    for name, rows in rows_of_classes().items():
        for row in rows:
            counts[row] += fired.get(name, 0)
    return dict(sorted(counts.items()))


def table(fired: Mapping[str, int]) -> str:
    """Return a line for each row, with the classes that play it."""
    classes = defaultdict(list)
    for name, rows in rows_of_classes().items():
        for row in rows:
            classes[row].append(name)
    counts = by_row(fired)
    lines = [f"{row}  {count:8}  {', '.join(classes[row])}" for row, count in counts.items()]
    full = sum(count >= GOAL for count in counts.values())
    return "\n".join([*lines, f"{full} of {len(counts)} rows fired at least {GOAL} times"])
