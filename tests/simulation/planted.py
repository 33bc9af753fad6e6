# ruff: noqa: T201 - a command prints its figures
"""Does the simulator notice?  Bugs are planted in a copy of the tree, never in the product.

Each is an exact replacement of a line or two; one that does not fit any more is an error,
so the list follows the code.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.provenance import ROOMS
from tests.simulation.many import BROKEN
from tests.simulation.planted_bugs import BUGS, STORIES, Bug
from tests.simulation.simulation import Scenario, simulate

__all__ = ["BUGS", "ROOT", "plant", "run", "try_bug"]

ROOT = Path(__file__).resolve().parents[2]
_SEEDS_AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one planted bug; ``seeds`` is how many it took."""

    bug: Bug
    seeds: int | None
    said: str


def run(names: Sequence[str], *, most_seeds: int, days: int = 2) -> int:
    """Plant each bug and look for it; return 0 when all were caught."""
    chosen = [bug for bug in BUGS if not names or bug.name in names]
    verdicts = []
    for bug in chosen:
        started = time.monotonic()
        verdict = try_bug(bug, most_seeds=most_seeds, days=days)
        verdicts.append(verdict)
        found = f"seed {verdict.seeds}" if verdict.seeds else "NOT CAUGHT"
        story = f"  [{_words(bug)} alone]" if bug.name in STORIES else ""
        spent = time.monotonic() - started
        print(f"{bug.name:34} {found:12} {spent:6.1f} s  {verdict.said}{story}")
        sys.stdout.flush()
    caught = sorted(verdict.seeds for verdict in verdicts if verdict.seeds)
    print(f"{len(caught)} of {len(verdicts)} planted bugs caught")
    if caught:
        print(f"seeds to catch: median {caught[len(caught) // 2]}, worst {caught[-1]}")
    return 0 if len(caught) == len(verdicts) else 1


def try_bug(bug: Bug, *, most_seeds: int, days: int) -> Verdict:
    """Run seeds on a copy with the bug until one of them objects."""
    memory = Path("/dev/shm")  # noqa: S108 - in memory where the machine has it
    parent = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="openbell-planted-", dir=parent) as directory:
        copy = Path(directory)
        copy_tree(copy)
        plant(copy, bug)
        for first in range(1, most_seeds + 1, _SEEDS_AT_ONCE):
            command = _command(bug, min(_SEEDS_AT_ONCE, most_seeds - first + 1), first, days)
            try:
                done = subprocess.run(
                    command, cwd=copy, capture_output=True, text=True, timeout=900, check=False
                )
            except subprocess.TimeoutExpired:
                return Verdict(bug=bug, seeds=None, said="the days do not end")
            if done.returncode not in {0, 1}:
                return Verdict(bug=bug, seeds=None, said=done.stderr.strip()[-300:])
            said = [line.strip() for line in done.stdout.splitlines()]
            seeds = [line for line in said if line.startswith("seed ") and line.endswith(":")]
            if seeds:
                number = int(seeds[0].removeprefix("seed ").removesuffix(":"))
                why = next(line for line in said if line.startswith("VIOLATION"))
                if f"VIOLATION {BROKEN}" in why:
                    return Verdict(bug=bug, seeds=None, said=why)
                if simulate(_scenario(bug, number, days)).violations:
                    return Verdict(bug=bug, seeds=None, said=f"seed {number} fails without it too")
                return Verdict(bug=bug, seeds=number, said=why[10:110])
            if done.returncode:
                return Verdict(bug=bug, seeds=None, said=done.stderr.strip()[-300:])
    return Verdict(bug=bug, seeds=None, said="")


def _scenario(bug: Bug, seed: int, days: int) -> Scenario:
    return Scenario(seed=seed, days=days, only=STORIES.get(bug.name), look_seconds=300)


def _words(bug: Bug) -> str:
    return ",".join(sorted(STORIES[bug.name]))


def _command(bug: Bug, seeds: int, first: int, days: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.simulation",
        *("--seeds", str(seeds), "--seed-start", str(first), "--days", str(days), "--look", "300"),
        *(("--only", _words(bug)) if bug.name in STORIES else ()),
        "--stop",
        "--quiet",
    ]


def copy_tree(copy: Path) -> None:
    """Copy the packages and the simulation."""
    for name in ROOMS:
        ignore = shutil.ignore_patterns("__pycache__", "data", "registry")
        shutil.copytree(ROOT / name, copy / name, ignore=ignore, symlinks=True)
    shutil.copytree(
        ROOT / "tests" / "simulation",
        copy / "tests" / "simulation",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def plant(copy: Path, bug: Bug) -> None:
    """Make the replacements of a bug.

    Raises:
        ValueError: the code is not what the bug was written for.
    """
    for path, old, new in bug.changes:
        file = copy / path
        text = file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{bug.name}: {path} has {text.count(old)} times: {old}")
        file.write_text(text.replace(old, new), encoding="utf-8")
