"""How long the command line takes to answer, beside a Typer program that does nothing.

Both are started in turn within one run, so that a busy machine slows both alike; the figure
is the median of the turns.  The modules loaded are read from the same commands.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.table import Row
from domain.clock import SystemClock
from state.store import Store

TURNS = 15
HEAVY = ("matplotlib", "numpy", "onnxruntime", "pandas", "torch")
COMMANDS = (("--help",), ("status",))
TARGET_RATIO = "<= 2"

BARE_PROGRAM = """
import typer

app = typer.Typer()


@app.command()
def status(name: str = "nobody") -> None:
    typer.echo(name)


@app.command()
def other() -> None:
    typer.echo("other")


app()
"""

# Runs the real entry point, then tells which heavy modules that needed.
PROBE = """
import json, sys
from daemon.cli import main
sys.argv = ["openbell", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(loaded), file=sys.stderr)
"""


def measure() -> list[Row]:
    """Time ``openbell --help`` and ``openbell status``, and list the heavy modules they load."""
    openbell = Path(sys.executable).with_name("openbell")
    if not openbell.exists():
        raise OSError(f"{openbell} is missing; run make demo once")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE_PROGRAM)
        # New books of its own: how much somebody has traded is not start-up.
        Store.open(Path(folder, "state"), clock=SystemClock()).close()
        environment = os.environ | {"OPENBELL__STATE__DIRECTORY": str(Path(folder, "state"))}
        for arguments in COMMANDS:
            ours, floor = _interleave(
                (str(openbell), *arguments), (sys.executable, str(bare), *arguments), environment
            )
            rows += _rows(arguments, ours, floor, _loaded(arguments, environment))
    return rows


def _rows(arguments: Sequence[str], ours: float, floor: float, heavy: Sequence[str]) -> list[Row]:
    shown = "openbell " + " ".join(arguments)
    return [
        Row(
            name=f"start-up of `{shown}`",
            ours=ours * 1000,
            unit="ms",
            floor=floor * 1000,
            floor_name="bare Typer",
            target=TARGET_RATIO,
            command="python -m bench startup",
        ),
        Row(
            name=f"heavy modules of `{shown}`" + (f": {', '.join(heavy)}" if heavy else ""),
            ours=len(heavy),
            unit=f"of {len(HEAVY)}",
            target="0",
            command="python -m bench startup",
        ),
    ]


def _interleave(
    ours: Sequence[str], floor: Sequence[str], environment: Mapping[str, str]
) -> tuple[float, float]:
    _seconds(ours, environment)  # the first run writes bytecode
    _seconds(floor, environment)
    turns = [(_seconds(ours, environment), _seconds(floor, environment)) for _ in range(TURNS)]
    return statistics.median(a for a, _ in turns), statistics.median(b for _, b in turns)


def _seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=60)
    spent = time.perf_counter() - began
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {said[-1]}")
    return spent


def _loaded(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    done = subprocess.run(
        (sys.executable, "-c", PROBE, *arguments),
        capture_output=True, check=False, env=environment, text=True, timeout=60,
    )  # fmt: skip
    loaded = set(json.loads(done.stderr.strip().splitlines()[-1]))
    return [module for module in HEAVY if module in loaded]
