"""Every error openbell raises, and who acts on it.

OpenbellError
├── ConfigError           the operator; the process exits 78
├── BadArgument           whoever typed the command; it exits 64
├── StateError            the operator; state cannot be trusted, exits 78 or halts
│   ├── StateInUse        whoever typed the command; another process has the books and goes on
│   └── StorageError      nobody at once; the disk refused a write, so nothing is sent
├── ProviderUnavailable   nobody; try a read again, or use the next source
│   ├── ProviderRefused   the operator; keys or plan do not open the service, exits 78
│   └── BrokerUnavailable nobody; try the read again
├── BrokerError           the order path
│   ├── OrderRejected     nobody; the broker refused, nothing is working
│   ├── OutcomeUnknown    reconcile; the order may live, nothing is sent again
│   ├── DuplicateOrder    the order path; an order with this id exists: look it up, compare, adopt
│   ├── NotSent           the order path; nothing was written, the same id may be sent again
│   ├── RateLimited       wait; the broker took nothing
│   └── AuthRefused       the operator; the keys are wrong, trading halts
├── RestartNeeded         the service manager; this process cannot go on, the next one may (75)
├── RunSkipped            nobody; a run of the schedule is written down as skipped, with the reason
├── SendRefused           nobody; our own guard stopped the write at the last moment
├── DataError             nobody; the symbol sits out
└── SizingError           nobody; no trade
"""

import errno


class OpenbellError(Exception):
    """Base of all; its text is one sentence that names the thing and the next step."""


class ConfigError(OpenbellError):
    """The configuration cannot be used."""


class BadArgument(OpenbellError):
    """What was typed cannot be meant."""


class StateError(OpenbellError):
    """The stored state is missing, damaged, or from another account or version."""


class StateInUse(StateError):
    """Another process has the books open."""


class StorageError(StateError):
    """A write did not become durable."""


class InUse(StateError):
    """Another process has the state directory, and may well be trading."""


class ProviderUnavailable(OpenbellError):
    """A service outside did not give a usable answer."""


class ProviderRefused(ProviderUnavailable):
    """A service outside refused the keys or the plan: asking again cannot help."""


class BrokerUnavailable(ProviderUnavailable):
    """The broker did not answer a read."""


class BrokerError(OpenbellError):
    """The broker answered a write with something other than plain success."""


class OrderRejected(BrokerError):
    """The broker refused the order: nothing is working in the market."""

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class OutcomeUnknown(BrokerError):
    """No clear answer (timeout, reset, 5xx, unreadable): the order may be live."""


class DuplicateOrder(BrokerError):
    """The broker knows an order with this id: proof that it exists, not a refusal."""


class NotSent(BrokerError):
    """No byte of the request was written, so the same id can safely be sent again."""


class RateLimited(BrokerError):
    """The broker refused for now; try again after ``retry_after_seconds``."""

    def __init__(self, reason: str, *, retry_after_seconds: float) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class AuthRefused(BrokerError):
    """The broker refused the keys."""


class RestartNeeded(OpenbellError):
    """This process cannot go on; a new one reads everything again and may."""


class RunSkipped(OpenbellError):
    """A run of the schedule has nothing to do today; the text says why."""


class SendRefused(OpenbellError):
    """The guard before the socket write said no: nothing was written."""


class DataError(OpenbellError):
    """A value from outside is missing, malformed or impossible."""


class SizingError(OpenbellError):
    """No position size can be derived from the inputs."""


def first_cause(cause: BaseException) -> BaseException:
    """Return the first plain error of a task group, for callers that handle one at a time."""
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


def remedy(exc: OSError) -> str:
    """Return what a person does about a file or folder that could not be written."""
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return "give it to the user that runs openbell"
    if exc.errno == errno.EROFS:
        return "mount the disk for writing"
    return "free the disk"
