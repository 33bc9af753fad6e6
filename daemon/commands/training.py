"""``openbell train MODEL``: train on the recorded prices and put the model beside the others."""

import dataclasses
import datetime as dt
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from daemon.command_line import Options
from daemon.commands.model_config import config_or_defaults
from daemon.commands.output import console, print_json
from daemon.config import state_directory
from domain.errors import BadArgument, ConfigError
from forecasts.features import BarColumns, FeatureSet, columns_of
from marketdata.recording import recording

if TYPE_CHECKING:
    from forecasts.training.config import TrainingConfig
    from forecasts.training.fitting import Epoch
    from forecasts.training.train import TrainedModel

SHORTEST_LOOKBACK, LONGEST_LOOKBACK = 12, 2000
LONGEST_HORIZON = 60
_FIRST, _LAST = dt.date(1980, 1, 1), dt.date(2100, 1, 1)


def train(
    options: Options,
    *,
    model: str,
    seed: int,
    epochs: int | None,
    device: str,
    resume: bool,
    features: str = FeatureSet.BARS,
    window: str | None = None,
) -> None:
    """Train, calibrate out of sample, publish; the next command puts it in use.

    ``epochs`` and ``window`` are those of the training recipe where None.
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "torch is not installed; run `make test` once, or install openbell[train]"
        )
    from forecasts.training.config import TrainingConfig
    from forecasts.training.devices import check_device
    from forecasts.training.networks import MODELS

    if model not in MODELS:
        raise BadArgument(f"{model}: no such model; choose from {', '.join(MODELS)}")
    check_device(device)
    recipe = TrainingConfig(model=model, seed=seed, device=device, features=_feature_set(features))
    lookback, horizon = _window(window) if window else (recipe.lookback, recipe.horizon)
    config = dataclasses.replace(
        recipe, lookback=lookback, horizon=horizon, max_epochs=epochs or recipe.max_epochs
    )
    root = state_directory(config_or_defaults(options)) / "models"
    trained = _train(root, config, is_quiet=options.json, resume=resume)
    _publish(trained, root, options)


def _feature_set(name: str) -> FeatureSet:
    known = [one.value for one in FeatureSet]
    if name not in known:
        raise BadArgument(f"--features {name}: choose from {', '.join(known)}")
    return FeatureSet(name)


def _window(text: str) -> tuple[int, int]:
    seen, _, ahead = text.partition(":")
    if not (seen.isdecimal() and ahead.isdecimal()):
        raise BadArgument(f"--window {text}: two numbers are needed, such as 168:24")
    lookback, horizon = int(seen), int(ahead)
    if not (SHORTEST_LOOKBACK <= lookback <= LONGEST_LOOKBACK and 1 <= horizon <= LONGEST_HORIZON):
        raise BadArgument(
            f"--window {text}: the first must lie between {SHORTEST_LOOKBACK} and "
            f"{LONGEST_LOOKBACK}, the second between 1 and {LONGEST_HORIZON}"
        )
    return lookback, horizon


def _train(root: Path, config: "TrainingConfig", *, is_quiet: bool, resume: bool) -> "TrainedModel":
    from forecasts.training.train import new_version
    from forecasts.training.train import train as fit

    model = config.model
    checkpoint = root / f"{model}.checkpoint"
    checkpoint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not resume:
        checkpoint.unlink(missing_ok=True)
    version = new_version(root, model)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(),
        disable=is_quiet,
    )
    with bar:
        task = bar.add_task(f"{model}/{version}: epochs", total=config.max_epochs)
        return fit(
            config,
            recorded_panel(),
            version=version,
            progress=_advance(bar, task),
            checkpoint=checkpoint,
        )


def _advance(bar: Progress, task: Any) -> "Callable[[Epoch], None]":
    def advance(epoch: "Epoch") -> None:
        told = f"validation loss {epoch.validation_loss:.5f}, baseline {epoch.baseline_loss:.5f}"
        bar.update(task, completed=epoch.number + 1, description=told)

    return advance


def _publish(trained: "TrainedModel", root: Path, options: Options) -> None:
    from forecasts.training.train import publish_model

    directory = publish_model(trained, root)
    (root / f"{trained.card.name}.checkpoint").unlink(missing_ok=True)
    if options.json:
        print_json({"model": trained.card.title, "directory": str(directory)})
        return
    out = console()
    out.print(f"{trained.card.title} is in {directory} (card.json has its figures)")
    out.print(f"Put it in use: openbell models promote {trained.card.name} {trained.card.version}")


def recorded_panel() -> dict[str, BarColumns]:
    """Return every recorded series as columns."""
    recorded = recording()
    return {symbol: columns_of(recorded.bars(symbol, _FIRST, _LAST)) for symbol in recorded.symbols}
