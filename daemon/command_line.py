"""What every command line has in common: shared options, exit statuses, where options may stand."""

from dataclasses import dataclass
from pathlib import Path

from domain.errors import (
    AuthRefused,
    BadArgument,
    BrokerError,
    ConfigError,
    OpenbellError,
    ProviderRefused,
    ProviderUnavailable,
    RestartNeeded,
    StateError,
)

EXIT_FAILED = 1
EXIT_NOT_VERIFIED = 2
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 75
EXIT_REFUSED = 78
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Options:
    """What every command knows."""

    config: Path | None
    json: bool


def hoist(arguments: list[str]) -> list[str]:
    """Move ``--config`` and ``--json`` to the front: users type them anywhere."""
    front: list[str] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word == "--json" or word.startswith("--config="):
            front.append(word)
        elif word == "--config" and queue:
            front += [word, queue.pop(0)]
        else:
            rest.append(word)
    return front + rest


def exit_code(error: OpenbellError) -> int:
    """Return the exit status that scripts and systemd know an error by."""
    if isinstance(error, BadArgument):
        return EXIT_USAGE
    if isinstance(error, ConfigError | StateError | AuthRefused | ProviderRefused):
        return EXIT_REFUSED
    if isinstance(error, ProviderUnavailable | BrokerError | RestartNeeded):
        return EXIT_UNAVAILABLE
    return EXIT_FAILED
