"""Talk to the service manager: ready, alive, stopping, what we are doing.

A datagram to ``$NOTIFY_SOCKET``; nothing is sent where there is none.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping

# Asked for anew every few seconds; one try may take minutes where nothing answers.
_PATIENCE_SECONDS = 600


class Notifier:
    """Sends sd_notify messages; a service manager that is away is no error."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog(environ)
        self._fed = 0.0
        self._status = ""
        self._is_ready = False

    @property
    def is_on(self) -> bool:
        """True when a service manager listens."""
        return bool(self._address)

    @property
    def watchdog_seconds(self) -> float | None:
        """How long the service manager waits for a sign of life; None when it does not."""
        return self._watchdog_seconds

    def beat(self, *, is_alive: bool, is_ready: bool, status: str) -> None:
        """Tell readiness once, life in time, and the status when it changed.

        Args:
            is_alive: the watchdog is fed only then.
            is_ready: start-up is over.
            status: one line for ``systemctl status``.
        """
        if is_ready and not self._is_ready:
            self._is_ready = True
            self.send("READY=1")
        if status != self._status:
            self._status = status
            self.send(f"STATUS={status}")
        now = time.perf_counter()
        if self._watchdog_seconds and is_alive and now - self._fed >= self._watchdog_seconds / 4:
            self._fed = now
            self.send("WATCHDOG=1")

    def waiting(self, status: str) -> None:
        """Tell that a start, or a life after a reload, takes as long as somebody else decides."""
        self.beat(is_alive=True, is_ready=False, status=status)
        self.send(f"EXTEND_TIMEOUT_USEC={_PATIENCE_SECONDS * 1_000_000}")

    def stopping(self) -> None:
        """Tell that the daemon is going down."""
        self.send("STOPPING=1")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; ready follows."""
        self._is_ready = False
        self.send(
            f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    def send(self, message: str) -> None:
        """Send one message."""
        if not self._address:
            return
        # A leading @ stands for the abstract namespace.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire,
        ):
            wire.connect(address)
            wire.send(message.encode())


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's span when it is meant for this process."""
    try:
        microseconds = int(environ["WATCHDOG_USEC"])
        process = int(environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return microseconds / 1e6 if process == os.getpid() and microseconds > 0 else None
