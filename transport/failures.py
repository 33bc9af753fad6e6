"""What can go wrong on a wire, in words that know no vendor and no library."""

from enum import StrEnum, unique

from domain.errors import ProviderUnavailable


@unique
class FailureKind(StrEnum):
    """Where an exchange broke."""

    CONNECT = "connect"  # name not resolved, refused, unreachable
    TLS = "tls"  # the peer did not prove who it is
    TIMEOUT = "timeout"  # a deadline passed
    BROKEN = "broken"  # reset, closed early, not HTTP
    TOO_LARGE = "too_large"  # more bytes than we accept
    ENCODED = "encoded"  # compressed though we asked for plain bytes


class TransportError(ProviderUnavailable):
    """No usable answer came back.

    ``was_sent`` is False only when it is certain that no byte of the request was
    written; then, and only then, a write may be sent again.
    """

    def __init__(self, reason: str, *, kind: FailureKind, was_sent: bool) -> None:
        super().__init__(reason)
        self.kind = kind
        self.was_sent = was_sent
