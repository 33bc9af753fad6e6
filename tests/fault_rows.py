"""Which test covers which row of the fault table: `python -m tests.fault_rows` writes the answer.

A test names its rows: `test_a10_a11_...`, or a parameter's `id="c03_c05"`.  The simulator
names them beside each fault that it plays.  Nothing is registered by hand.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
ROWS = TESTS / "data" / "fault-rows.json"
DOCUMENT = TESTS.parent / "docs" / "fault-rows.md"
SIMULATOR = TESTS / "simulation" / "faults.py"
# Without a test here, orders could double, be lost, or not be stoppable.
STRICT_CLASSES = "ABCK"
PROCESS_CLASS = "D"
MOST_NAMED = 4

_TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)
_PARAMETER = re.compile(r"""\bid=["'](\w+)["']""")
_ROW = re.compile(r"(?<![a-z0-9])([a-z]\d{2})(?![a-z0-9])")
_SIMULATED = re.compile(r'"([\w.]+)":.*#(.*)$', re.MULTILINE)
_ROW_IN_COMMENT = re.compile(r"\b([A-Z]\d{2})\b")


class Row(NamedTuple):
    """One fault of the table; ``is_process`` where a test with real processes is wanted."""

    id: str
    heading: str
    fault: str
    is_process: bool


class Test(NamedTuple):
    """One test that names rows."""

    name: str
    file: str


Covered = Mapping[str, Sequence[Test]]


def read_rows() -> list[Row]:
    """Return the fault table."""
    rows = json.loads(ROWS.read_text(encoding="utf-8"))
    return [Row(row["id"], row["class"], row["fault"], row["process"]) for row in rows]


def covered() -> Covered:
    """Return the tests by row."""
    found: dict[str, list[Test]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, rows in _names(path.read_text(encoding="utf-8")):
            for row in rows:
                found[row].append(Test(name, path.relative_to(TESTS).as_posix()))
    return found


def simulated() -> Mapping[str, Sequence[str]]:
    """Return the simulator's faults by row."""
    found: dict[str, list[str]] = defaultdict(list)
    if SIMULATOR.exists():
        for name, comment in _SIMULATED.findall(SIMULATOR.read_text(encoding="utf-8")):
            for row in _ROW_IN_COMMENT.findall(comment):
                found[row].append(name)
    return found


def _names(text: str) -> Iterator[tuple[str, list[str]]]:
    for name in (*_TEST.findall(text), *_PARAMETER.findall(text)):
        rows = _ROW.findall(name.replace("_", " "))
        if rows:
            yield name, [row.upper() for row in dict.fromkeys(rows)]


def open_rows(rows: Sequence[Row], tests: Covered) -> list[Row]:
    """Return the rows of the strict classes, and the process rows of D, without a test."""
    return [
        row
        for row in rows
        if row.id not in tests
        and (row.id[0] in STRICT_CLASSES or (row.id[0] == PROCESS_CLASS and row.is_process))
    ]


def render(rows: Sequence[Row], tests: Covered, played: Mapping[str, Sequence[str]]) -> str:
    """Return the document."""
    known = {row.id for row in rows}
    lines = [
        "# Faults and their tests",
        "",
        "Made by `python -m tests.fault_rows` from the names of the tests and of the simulator's",
        "faults; do not edit. A row without a test by its name may still be played by the",
        "simulator. `process` marks tests with real processes and sockets.",
        "",
        f"{sum(row in known for row in tests)} of {len(rows)} rows have a test by name.",
        "",
        "## Open",
        "",
        "Rows of A, B, C and K, and the process rows of D, without a test by name:",
        "",
    ]
    missing = open_rows(rows, tests)
    lines += [f"- **{row.id}** {row.fault}{_played(row, played)}" for row in missing] or ["None."]
    heading = ""
    for row in rows:
        if row.heading != heading:
            heading = row.heading
            lines += ["", f"## {row.id[0]}. {heading}", ""]
            lines += ["| row | fault | tests | simulator |", "|---|---|---|---|"]
        names = _cell(tests.get(row.id, ()))
        lines.append(f"| {row.id} | {row.fault} | {names} | {', '.join(played.get(row.id, ()))} |")
    return "\n".join(lines) + "\n"


def _played(row: Row, played: Mapping[str, Sequence[str]]) -> str:
    return f" (simulator: {', '.join(played[row.id])})" if row.id in played else ""


def _cell(tests: Sequence[Test]) -> str:
    # Real processes first: they prove most.
    ordered = sorted(tests, key=lambda test: (not test.file.startswith("process/"), test))
    named = [
        f"{'process: ' if test.file.startswith('process/') else ''}"
        f"`{test.file.rpartition('/')[2]}` {test.name.removeprefix('test_')}"
        for test in ordered[:MOST_NAMED]
    ]
    more = len(ordered) - MOST_NAMED
    return "<br>".join([*named, f"and {more} more"] if more > 0 else named)


def main() -> int:
    """Write the document, or with ``--check`` only tell whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_rows", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when it is old")
    is_check = parser.parse_args().check
    rows, tests = read_rows(), covered()
    text = render(rows, tests, simulated())
    if is_check:
        return 0 if DOCUMENT.read_text(encoding="utf-8") == text else 1
    DOCUMENT.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT}: {len(open_rows(rows, tests))} open\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
