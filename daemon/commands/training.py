"""``openbell train MODEL``: train on the recorded prices and put the model beside the others."""

import dataclasses
import datetime as dt
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from daemon.after_close.training_data import Panel, own_panel, recorded_panel
from daemon.command_line import Options
from daemon.commands.arguments import session_date
from daemon.commands.model_config import config_or_defaults
from daemon.commands.output import console, print_json
from daemon.config import Config, state_directory
from domain.errors import BadArgument, ConfigError
from forecasts.comparison import verdict
from forecasts.features import FeatureSet
from state.files import create_directory

if TYPE_CHECKING:
    from forecasts.training.config import Spans, TrainingConfig
    from forecasts.training.fitting import Epoch
    from forecasts.training.train import TrainedModel

SHORTEST_LOOKBACK, LONGEST_LOOKBACK = 12, 2000
LONGEST_HORIZON = 60
UNTIL = "--until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed; None for what the training recipe says.

    ``until`` moves the spans of the recipe, so that they end there; so does ``is_stored``, with
    the last bar that is there.
    """

    model: str
    seed: int
    device: str
    resume: bool
    features: str
    is_stored: bool
    epochs: int | None
    window: str | None
    until: str | None


def train(options: Options, wish: Wish) -> None:
    """Train, calibrate out of sample, publish; the next command puts it in use."""
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "torch is not installed; run `make test` once, or install openbell[train]"
        )
    settings = config_or_defaults(options)
    recipe = _recipe(wish)
    panel = _panel(settings, is_stored=wish.is_stored)
    if wish.is_stored or wish.until is not None:
        end = session_date(wish.until, option=UNTIL)
        recipe = dataclasses.replace(recipe, spans=_spans(panel, end))
    create_directory(state_directory(settings))
    root = state_directory(settings) / "models"
    trained = _train(root, recipe, panel, is_quiet=options.json, resume=wish.resume)
    _publish(trained, root, options)


def _recipe(wish: Wish) -> "TrainingConfig":
    from forecasts.training.config import TrainingConfig
    from forecasts.training.devices import check_device
    from forecasts.training.networks import MODELS

    if wish.model not in MODELS:
        raise BadArgument(f"{wish.model}: no such model; choose from {', '.join(MODELS)}")
    check_device(wish.device)
    recipe = TrainingConfig(
        model=wish.model,
        seed=wish.seed,
        device=wish.device,
        features=_feature_set(wish.features),
    )
    seen, ahead = _window(wish.window) if wish.window else (recipe.lookback, recipe.horizon)
    epochs = wish.epochs or recipe.max_epochs
    return dataclasses.replace(recipe, lookback=seen, horizon=ahead, max_epochs=epochs)


def _panel(config: Config, *, is_stored: bool) -> Panel:
    if not is_stored:
        return recorded_panel()
    return own_panel(config)


def _spans(panel: Panel, end: dt.date | None) -> "Spans":
    from forecasts.training.windows import spans_until

    last = max(columns.last_date for columns in panel.values())
    return spans_until(panel, end or last + dt.timedelta(days=1))


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


def _train(
    root: Path, config: "TrainingConfig", panel: Panel, *, is_quiet: bool, resume: bool
) -> "TrainedModel":
    from forecasts.training.checkpoint import remove_checkpoint
    from forecasts.training.train import new_version
    from forecasts.training.train import train as fit

    model = config.model
    checkpoint = root / f"{model}.checkpoint"
    checkpoint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not resume:
        remove_checkpoint(checkpoint)
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
            panel,
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
    from forecasts.training.checkpoint import remove_checkpoint
    from forecasts.training.train import publish_model

    directory = publish_model(trained, root)
    remove_checkpoint(root / f"{trained.card.name}.checkpoint")
    if options.json:
        print_json({"model": trained.card.title, "directory": str(directory)})
        return
    out = console()
    out.print(f"{trained.card.title} is in {directory} (card.json has its figures)")
    out.print(verdict([trained.card], max(map(int, trained.card.metrics))))
    out.print(f"Put it in use: openbell models promote {trained.card.name} {trained.card.version}")
