# ruff: noqa: T201 - a command prints its figures
"""Which lines of the product the simulated days reach, without any other test."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("execution", "risk", "state")
# Of `state`, what a trading day does not run: readers of pages and reports, care at night.
READERS = tuple(
    f"state/{name}.py"
    for name in (
        *("backup", "breakers", "costs", "explanation", "figures", "inspection", "json_rows"),
        *("reader", "rehearsal", "retention", "standings", "status", "track_record", "track_rows"),
    )
)
KILL = ("execution/kill", "execution/flatten", "execution/cancel_all", "state/latch")


def run(*, seeds: int, days: int, look: float | None) -> int:
    """Play seeds under `coverage` and print a table by room; return 0."""
    with tempfile.TemporaryDirectory() as directory:
        data, report = Path(directory) / "data", Path(directory) / "report.json"
        play = ["-m", "tests.simulation", "--seeds", str(seeds), "--days", str(days), "--quiet"]
        if look is not None:
            play += ["--look", str(look)]
        tool = [sys.executable, "-m", "coverage"]
        options = [f"--data-file={data}"]
        source = f"--source={','.join(ROOMS)}"
        subprocess.run([*tool, "run", *options, source, *play], cwd=ROOT, check=False)
        made = [*tool, "json", *options, "-q", "-o", str(report)]
        subprocess.run(made, cwd=ROOT, check=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    lines = {name: file["summary"] for name, file in files.items()}
    for room in ROOMS:
        _tell(room, (one for name, one in lines.items() if name.startswith(f"{room}/")))
    _tell("state, writers", (one for n, one in lines.items() if _is_writer(n)))
    _tell("kill", (one for name, one in lines.items() if name.startswith(KILL)))
    print("\nnot reached")
    for name, file in sorted(files.items()):
        if file["missing_lines"]:
            print(f"  {file['summary']['percent_covered']:5.1f} % {name}: {_spans(file)}")
    return 0


def _is_writer(name: str) -> bool:
    return name.startswith("state/") and name not in READERS


def _tell(name: str, parts: Iterable[dict[str, int]]) -> None:
    found = list(parts)
    covered = sum(one["covered_lines"] for one in found)
    known = sum(one["num_statements"] for one in found)
    print(f"{name:15} {100 * covered / max(known, 1):5.1f} %  {covered} of {known} lines")


def _spans(file: dict[str, list[int]]) -> str:
    spans: list[list[int]] = []
    for line in file["missing_lines"]:
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in spans)
