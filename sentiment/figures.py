"""Two figures of one headline side by side: "EPS 74 cents; consensus 86 cents".

A figure is read whole, with its sign and its unit: 1.02 billion is more than 980 million, and
1,234 more than 987.
"""

import re

# A sign or a parenthesis before it, as accounts write a loss; a dash after a figure is a range.
_FIGURE = (
    r"(?P<{0}_before>(?:(?<![\w.,%])-)?\(?(?:C?[$€£][-(]?)?)"
    r"(?P<{0}>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?)(?P<{0}_after>\)?)"
    r"(?:\s*(?P<{0}_unit>cents|bln|mln|billion|million|[BMbm])\b)?"
)
_OURS, _THEIRS = _FIGURE.format("ours"), _FIGURE.format("theirs")
_COMPARISON = re.compile(
    rf"(?<![\d.,]){_OURS}[,;]?\s+(?:vs\.?|versus|(?:FactSet )?consensus|compared with)\s+{_THEIRS}"
)
_MONEY = re.compile(r"[$€£]")
_CENTS = "cents"
_SCALES = {_CENTS: 0.01, "m": 1e6, "mln": 1e6, "million": 1e6, "b": 1e9, "bln": 1e9, "billion": 1e9}


def compared(text: str) -> int:
    """Return 1 where the first figure that stands against another is above it, -1 where below."""
    found = _COMPARISON.search(text)
    if found is None:
        return 0
    ours, theirs = _value(found, "ours", "theirs"), _value(found, "theirs", "ours")
    return (ours > theirs) - (ours < theirs)


def _value(found: re.Match[str], name: str, other: str) -> float:
    value = float(found[name].replace(",", ""))
    before = found[f"{name}_before"]
    is_below = "-" in before or ("(" in before and found[f"{name}_after"])
    return (-value if is_below else value) * _scale(found, name, other)


def _scale(found: re.Match[str], name: str, other: str) -> float:
    unit, others = found[f"{name}_unit"], found[f"{other}_unit"]
    if unit is None and not (others == _CENTS and _MONEY.search(found[f"{name}_before"])):
        # "1.2 vs. 0.98 billion": the unit is said once.
        unit = others
    return _SCALES[unit.lower()] if unit is not None else 1.0
