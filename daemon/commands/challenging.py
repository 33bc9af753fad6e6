"""``openbell models challenge``: a candidate against the model in use, on the same windows."""

import datetime as dt
import importlib.util

from daemon.after_close.training_data import own_panel, recorded_panel
from daemon.command_line import Options
from daemon.commands.model_config import config_or_defaults, store_of
from daemon.commands.output import console, print_json, print_table
from domain.errors import BadArgument, ConfigError

_COLUMNS = {
    "model": "model",
    "pinball": "pinball",
    "brier": "Brier",
    "accuracy": "right",
    "coverage_of_80_band": "80 % band held",
}


def challenge(options: Options, *, name: str, version: str, is_stored: bool) -> None:
    """Measure a version against the one in use and print the verdict; nothing is promoted.

    Raises:
        BadArgument: the version is the one in use.
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigError("torch is not installed; install openbell[train]")
    config = config_or_defaults(options)
    store = store_of(config)
    candidate, champion = store.load(name, version), store.load(name)
    if champion.card.version == version:
        raise BadArgument(f"{candidate.card.title} is the one in use; name another version")
    panel = own_panel(config) if is_stored else recorded_panel()
    end = candidate.card.data_cutoff + dt.timedelta(days=1)
    known = {symbol: columns.before(end) for symbol, columns in panel.items()}
    from forecasts.training.challenge import challenge as measure

    step = min(config.forecasts.horizon, candidate.card.horizon, champion.card.horizon)
    found = measure(candidate, champion, known, step=step)
    verdict = (
        f"{found.candidate} is better: openbell models promote {name} {version} --regardless"
        if found.is_better
        else f"{found.candidate} is not better: {'; '.join(found.reasons)}."
    )
    lines = [
        {"model": title, **found.figures[who]}
        for who, title in (("candidate", found.candidate), ("champion", found.champion))
    ]
    if options.json:
        facts = {"step": found.step, "windows": found.windows, "reasons": list(found.reasons)}
        print_json({"is_better": found.is_better, "models": lines, **facts})
        return
    console().print(f"{found.step} sessions ahead, {found.windows:,} windows both have not seen:\n")
    print_table("", _COLUMNS, lines, empty="")
    console().print(f"\n{verdict}")
