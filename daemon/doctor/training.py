"""Is everything there that the weekly training needs?  Nothing is said where it is off."""

import importlib.util
from collections.abc import Iterator

from daemon.config import Config, state_directory
from daemon.doctor.finding import Finding, ok, warning
from daemon.sources.bar_feed import BAR_DIRECTORY
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
    stored = set(BarStore(state_directory(config) / BAR_DIRECTORY).symbols())
    missing = [symbol for symbol in config.universe.symbols if symbol not in stored]
    if missing:
        yield warning(
            "training",
            f"no bars of {', '.join(missing[:3])} are stored, so they will not be trained on",
            fix="openbell fetch --from 1995-01-01",
        )
        return
    yield ok("training", f"{settings.model}, weekly, on the stored bars of {len(stored)} symbols")
