"""What the model server is told at its start."""

import ipaddress
from dataclasses import dataclass

from domain.errors import ConfigError
from domain.secrets import Secret

CPU = "cpu"
# A token that guards more than this machine must withstand guessing.
SHORTEST_TOKEN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where to listen, who may ask, and how much at once.

    ``queue_size`` bounds the inference requests in the house: being read, waiting and being
    computed.  ``workers`` are processes per model version; ``batch_rows`` is how many rows
    of waiting requests are computed together.  ``device`` is ``cpu``, by ONNX Runtime, or
    what torch calls one, such as ``cuda``.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    token: Secret | None = None
    queue_size: int = 32
    workers: int = 1
    device: str = CPU
    batch_rows: int = 1024
    body_cap_bytes: int = 64 * 1024 * 1024
    body_seconds: float = 30.0
    answer_seconds: float = 60.0
    # Below the 30 s after which systemd and Kubernetes lose patience.
    drain_seconds: float = 20.0

    def __post_init__(self) -> None:
        """Refuse to open to a network without a token that can guard it."""
        if self.queue_size < 1 or self.workers < 1 or self.batch_rows < 1:
            raise ConfigError("serve-models: --queue and --workers must be at least 1")
        if is_loopback(self.host):
            return
        if self.token is None or len(self.token.reveal()) < SHORTEST_TOKEN:
            raise ConfigError(
                f"serve-models: --host {self.host} is not loopback, so OPENBELL_FORECAST_TOKEN "
                f"must hold at least {SHORTEST_TOKEN} characters; make one with "
                "`openssl rand -hex 24`"
            )


def is_loopback(host: str) -> bool:
    """Return true for an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
