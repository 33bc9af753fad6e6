"""Is everything there that the weekly training needs?  Nothing is said where it is off."""

import importlib.util
from collections.abc import Iterator

from daemon.after_close.training_data import FILES, bar_folder
from daemon.config import Config
from daemon.doctor.finding import Finding, ok, warning
from marketdata.store import BarStore


def training(config: Config) -> Iterator[Finding]:
    """Check torch and the stored bars."""
    settings = config.forecasts.retraining
    if not settings.enabled:
        return
    if importlib.util.find_spec("torch") is None:
        yield warning(
            "training",
            "torch is not installed, so every weekly run will be skipped",
            fix="pip install 'openbell[train]', or forecasts.retraining.enabled = false",
        )
        return
    if config.marketdata.provider == "sample":
        yield ok("training", f"{settings.model}, weekly, on the recorded prices")
        return
    are_files, folder = config.marketdata.provider == FILES, bar_folder(config)
    kept = {path.stem for path in folder.glob("*")} if are_files else BarStore(folder).symbols()
    missing = [symbol for symbol in config.universe.symbols if symbol not in kept]
    if missing:
        yield warning(
            "training",
            f"no bars of {', '.join(missing[:3])} are stored, so they will not be trained on",
            fix=f"put them into {folder}" if are_files else "openbell fetch --from 1995-01-01",
        )
        return
    yield ok("training", f"{settings.model}, weekly, on the stored bars of {len(kept)} symbols")
