"""Two ways of calibrating the same models, walk-forward: the table of decision 0011.

    python -m bench.forecast_calibration [--step 20] [--years 2010 2013 2016 2019 2022]

Trains one model per test block (about a minute each on one core), calibrates it on the three
years before the block in both ways, and prints what came of each on the block.
"""

import argparse
import math
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.after_close.training_data import recorded_panel
from forecasts.training.config import TrainingConfig
from forecasts.training.walkforward import Block, fitted_blocks

Floats = NDArray[np.float64]


def main() -> int:
    """Print the table, a block as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=20)
    parser.add_argument("--years", type=int, nargs="+", default=[2010, 2013, 2016, 2019, 2022])
    asked = parser.parse_args()
    sys.stdout.write(
        "| block | Brier of the base rate | each level shifted | symmetric | "
        "80 % band, shifted | symmetric |\n|---|---|---|---|---|---|\n"
    )
    for block in fitted_blocks(TrainingConfig(), recorded_panel(), asked.years):
        sys.stdout.write(_line(block.measured(shifted), block.measured(), str(asked.step)))
        sys.stdout.flush()
    return 0


def shifted(
    outcomes: Floats, shift: Floats, stretch: Floats, base: Floats, levels: Sequence[float]
) -> Floats:
    """Give each level the conformal quantile of the outcomes of its own; the way not taken."""
    residuals = np.sort((outcomes - shift) / stretch, axis=0)
    count = residuals.shape[0]
    ranks = [min(count, max(1, math.ceil(round((count + 1) * level, 9)))) for level in levels]
    found: Floats = residuals[np.array(ranks) - 1].T
    return found.reshape(base.shape)


def _line(other: Block, ours: Block, step: str) -> str:
    one, two = other.figures[step], ours.figures[step]
    cells = (
        two["brier_base_rate"],
        one["brier"],
        two["brier"],
        one["coverage_of_80_band"],
        two["coverage_of_80_band"],
    )
    years = f"{ours.start.year}-{ours.end.year - 1}"
    return f"| {years} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |\n"


if __name__ == "__main__":
    sys.exit(main())
