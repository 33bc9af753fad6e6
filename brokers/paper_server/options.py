"""Options of the paper server: keys, port, limits, faults, news."""

import hmac
from dataclasses import dataclass, field

from brokers.paper_server.faults import Fault
from domain.market import NewsItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """API keys of the embedded account; they open nothing outside this machine."""

    key_id: str = "PKEMBEDDED00000000"
    secret_key: str = "embedded-paper-server-secret"  # noqa: S105 - opens a simulation only

    def match(self, key_id: str, secret_key: str) -> bool:
        """Tell whether both keys are right."""
        is_id = hmac.compare_digest(self.key_id.encode(), key_id.encode())
        return hmac.compare_digest(self.secret_key.encode(), secret_key.encode()) and is_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the server answers; port 0 lets the system choose, limit 0 means none."""

    keys: Keys = field(default_factory=Keys)
    port: int = 0
    requests_per_minute: int = 200
    faults: tuple[Fault, ...] = ()
    news: tuple[NewsItem, ...] = ()
