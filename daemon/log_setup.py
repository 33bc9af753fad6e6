"""Structured logs on stderr: an event name and its values, one line each.

Only the values named here leave the process, and known secrets are blotted out of those
too: a log is read by more people than an account is.
"""

import logging
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import structlog

from domain.clock import Clock

EventDict = MutableMapping[str, Any]
_BLOT = "[secret]"


def configure(*, level: str, form: str, clock: Clock, secrets: Iterable[str] = ()) -> None:
    """Set up structlog for the process; times are those of ``clock``."""
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
            _blot(tuple(secret for secret in secrets if secret)),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries print requests and headers at lower levels.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)


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
    return value
