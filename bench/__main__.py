"""Run the measurements and print one table: ``python -m bench [NAME ...]``.

A measurement is a module in this folder with ``measure() -> list[Row]``; nothing has to be
registered.  Without names all of them run, one after another, so that they do not disturb
each other.  Modules without ``measure`` need input and are run on their own.
"""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Callable

import structlog

import bench
from bench.table import Row, render


def main() -> int:
    """Run what was asked for; a measurement that fails is named, and the rest still run."""
    measurements = _measurements()
    names = sorted(measurements)
    parser = argparse.ArgumentParser(prog="python -m bench", description="measure openbell")
    parser.add_argument("name", nargs="*", help="what to measure: " + ", ".join(names))
    chosen = parser.parse_args().name or names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(names)}")
    # What is measured logs; the table is to be all that is on stdout.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    rows: list[Row] = []
    failed = False
    for name in chosen:
        print(f"bench: measuring {name} ...", file=sys.stderr)
        try:
            rows += measurements[name]()
        except (OSError, RuntimeError, ValueError) as error:
            print(f"bench: {name} failed: {error}", file=sys.stderr)
            failed = True
    print(render(rows))
    return 1 if failed else 0


def _measurements() -> dict[str, Callable[[], list[Row]]]:
    found: dict[str, Callable[[], list[Row]]] = {}
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name == "__main__":
            continue
        try:
            loaded = importlib.import_module(f"bench.{module.name}")
        except ModuleNotFoundError as error:
            # What trains needs torch, which only `make test` installs.
            print(f"bench: {module.name} left out, {error.name} is missing", file=sys.stderr)
            continue
        if measure := getattr(loaded, "measure", None):
            found[module.name] = measure
    return found


if __name__ == "__main__":
    raise SystemExit(main())
