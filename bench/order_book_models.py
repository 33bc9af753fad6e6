"""RNN, GRU and LSTM on order books, beside the last price.

    python -m bench.order_book_models [--csv FILE] [--bars 8640] [--epochs 40] [--seed 1]

Without a file the market is made up; with ``--save FILE`` it is written as the collector
would have.
"""

import argparse
import datetime as dt
import sys
from dataclasses import astuple, fields
from pathlib import Path

from forecasts.training.order_book import append_csv, read_csv, synthetic_book
from forecasts.training.order_book_experiment import PriceScores, run_experiment

_START = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)


def main() -> int:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--bars", type=int, default=8640)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    book = (
        read_csv(asked.csv)
        if asked.csv is not None
        else synthetic_book(asked.bars, seed=asked.seed, start=_START)
    )
    if asked.save is not None:
        append_csv(asked.save, book)
    names = [field.name.replace("_", " ") for field in fields(PriceScores)]
    sys.stdout.write(f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n")
    for scores in run_experiment(book, seed=asked.seed, max_epochs=asked.epochs):
        sys.stdout.write(f"| {' | '.join(map(_cell, astuple(scores)))} |\n")
    return 0


def _cell(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    sys.exit(main())
