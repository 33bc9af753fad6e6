"""Settings that only their own part of the daemon understands: it refuses to start with others.

Nothing is opened that sends: what would answer is asked elsewhere.
"""

from daemon.config import Config
from daemon.connection import check_recorded, replay_start
from daemon.embedded import faults_of
from daemon.telemetry.alerts import open_targets
from daemon.telemetry.commands import check_keys
from strategies.registry import build_allocations


def check_understood(config: Config) -> None:
    """Build of each part what tells whether its settings can be used.

    Raises:
        ConfigError: naming the key.
    """
    build_allocations(config.strategies, min_confidence=config.risk.min_confidence)
    _check_replay(config)
    if config.mqtt.enabled:
        check_keys(config.mqtt.command_public_keys)
    if config.alerts.urls:
        open_targets(config.alerts.urls)


def _check_replay(config: Config) -> None:
    is_embedded = config.broker.kind == "embedded"
    if config.clock.kind == "replay" and (is_embedded or config.clock.start != "broker"):
        replay_start(config)
    check_recorded(config)
    if is_embedded and config.broker.embedded.faults:
        faults_of(config)
