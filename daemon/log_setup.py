"""Structured logs on stderr: an event name and its values, one line each.

Only the values named here leave the process, and known secrets are blotted out of those
too: a log is read by more people than an account is.
"""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog

from domain.clock import Clock
from domain.reasons import printable

EventDict = MutableMapping[str, Any]
_BLOT = "[secret]"


class LossySink(io.TextIOBase):
    """Standard error that drops what it cannot take: a full disk under a log stops no trading.

    Past Python's buffer, in which lines that could not be written would pile up.
    """

    def __init__(self) -> None:
        self.dropped = 0

    def write(self, text: str) -> int:
        """Write a line, or count it as lost."""
        try:
            self._put(text)
        except (OSError, ValueError):
            self.dropped += 1
        return len(text)

    def _put(self, text: str) -> None:
        try:
            descriptor = sys.stderr.fileno()
        except (AttributeError, io.UnsupportedOperation):
            # A capture without a file behind it.
            sys.stderr.write(text)
            return
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(descriptor, data) :]


SINK = LossySink()


def configure(*, level: str, form: str, clock: Clock, secrets: Iterable[str] = ()) -> None:
    """Set up structlog for the process; times are those of ``clock``."""
    # The longest first: one that begins like another must not leave its end behind.
    known = tuple(sorted((secret for secret in secrets if secret), key=len, reverse=True))
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _stamp(clock),
            structlog.processors.format_exc_info,
            _blot(known),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, SINK)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Blotting(known))
    # Libraries print requests and headers at lower levels.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class _Blotting(logging.Formatter):
    """What libraries say, tracebacks included, without the secrets and in printable characters."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__(logging.BASIC_FORMAT)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of one record."""
        return str(_clean(super().format(record), self._secrets))


def _stamp(clock: Clock) -> Callable[[Any, str, EventDict], EventDict]:
    def stamp(_: Any, __: str, event: EventDict) -> EventDict:
        return {"at": clock.now().isoformat(), **event}

    return stamp


def _blot(secrets: tuple[str, ...]) -> Callable[[Any, str, EventDict], EventDict]:
    def blot(_: Any, __: str, event: EventDict) -> EventDict:
        return {key: _clean(value, secrets) for key, value in event.items()}

    return blot


def _clean(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _BLOT)
        # On a console it would be obeyed.
        return printable(value)
    if isinstance(value, Mapping):
        return {key: _clean(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one, secrets) for one in value]
    return value
