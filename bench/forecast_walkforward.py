"""Walk-forward figures of a forecasting model on the recorded panel.

    python -m bench.forecast_walkforward [--model lstm] [--features bars]
        [--years 2010 2013 2016 2019 2022]

Trains one model per test block (about a minute each on one core) and prints a table in
Markdown: every figure of the model beside that of its baseline.
"""

import argparse
import sys

from daemon.after_close.training_data import recorded_panel
from forecasts.features import FeatureSet
from forecasts.training.config import TrainingConfig
from forecasts.training.walkforward import walk_forward

_COLUMNS = (
    "samples",
    "accuracy",
    "accuracy_always_up",
    "accuracy_error",
    "brier",
    "brier_base_rate",
    "calibration_error",
    "pinball",
    "pinball_unconditional",
    "coverage_of_80_band",
    "share_above_gate",
    "accuracy_above_gate",
)


def main() -> int:
    """Print the table, a block as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lstm")
    parser.add_argument("--years", type=int, nargs="+", default=[2010, 2013, 2016, 2019, 2022])
    parser.add_argument("--features", type=FeatureSet, default=FeatureSet.BARS)
    arguments = parser.parse_args()
    config = TrainingConfig(model=arguments.model, features=arguments.features)
    write = sys.stdout.write
    write("| block | step | " + " | ".join(name.replace("_", " ") for name in _COLUMNS) + " |\n")
    write("|---" * (len(_COLUMNS) + 2) + "|\n")
    for block in walk_forward(config, recorded_panel(), arguments.years):
        for step, figures in block.figures.items():
            cells = [_cell(name, figures[name]) for name in _COLUMNS]
            years = f"{block.start.year}-{block.end.year - 1}"
            write(f"| {years} | {step} | {' | '.join(cells)} |\n")
            sys.stdout.flush()
    return 0


def _cell(name: str, value: float) -> str:
    return f"{value:.0f}" if name == "samples" else f"{value:.4f}"


if __name__ == "__main__":
    sys.exit(main())
