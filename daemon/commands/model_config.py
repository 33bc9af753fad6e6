"""The configuration of commands that also run where there is none, as on a GPU host."""

import os

from daemon.command_line import Options
from daemon.config import DEFAULT_PATHS, Config, load, state_directory
from daemon.config_loader import build, with_environment
from forecasts.model_store import SHIPPED, ModelStore


def config_or_defaults(options: Options) -> Config:
    """Read the configuration; where no file is, the defaults and the environment."""
    if not has_config(options):
        return build(Config, with_environment({"universe": {"symbols": ["SPY"]}}, os.environ))
    return load(options.config)


def has_config(options: Options) -> bool:
    """Tell whether there is a configuration to read."""
    return options.config is not None or any(path.exists() for path in DEFAULT_PATHS)


def store_of(config: Config) -> ModelStore:
    """Return the registry: the user's own models, then the shipped ones."""
    return ModelStore((state_directory(config) / "models", SHIPPED))
