"""What every command line has in common: shared options, exit statuses, where options may stand."""

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

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
from domain.reasons import printable

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


def ready_streams() -> None:
    """Give the command streams that exist, and that take any text.

    Who started it may have closed them, and a terminal may know few characters.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Write a line to stderr; whether it arrives does not change how the command ends."""
    try:
        sys.stderr.write(f"openbell: {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        lose(sys.stderr)


def lose(stream: TextIO) -> None:
    """Let what is still to be printed go nowhere: who listened is gone, or the disk is full.

    Else Python tries it once more at its end, and ends with a status of its own.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def advised(error: OpenbellError) -> str:
    """Return what to tell of an error: one from the wire knows no next step."""
    if isinstance(error, ProviderUnavailable) and not isinstance(error, ProviderRefused):
        return f"{error}; try again, `openbell doctor` tells what can be reached"
    return str(error)


def exit_code(error: OpenbellError) -> int:
    """Return the exit status that scripts and systemd know an error by."""
    if isinstance(error, BadArgument):
        return EXIT_USAGE
    if isinstance(error, ConfigError | StateError | AuthRefused | ProviderRefused):
        return EXIT_REFUSED
    if isinstance(error, ProviderUnavailable | BrokerError | RestartNeeded):
        return EXIT_UNAVAILABLE
    return EXIT_FAILED
