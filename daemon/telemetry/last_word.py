"""One alert where no daemon is up to send it: of a refused start, of a service manager's kill.

It is handed over once, a few seconds are left to it, and whether it arrives changes nothing; a
dead man's switch outside is what notices that nothing was said.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from daemon.telemetry.alert_target import compose
from daemon.telemetry.alerts import open_targets
from daemon.telemetry.hub import Notice
from domain.clock import SystemClock

_SECONDS = 5.0


def last_word(urls: Sequence[str], kind: str, text: str, *, seconds: float = _SECONDS) -> None:
    """Tell people one thing, and wait for that no longer than ``seconds``; never raises."""
    if not urls:
        return
    clock = SystemClock()
    notice = Notice(kind=kind, text=text, symbol=None, at=clock.now())
    title, body = compose((notice,), held_back=0, lost=0)
    # A target that hangs must not keep the process: nobody waits for these at its end.
    sending = [
        threading.Thread(target=_notify, args=(target, title, body), daemon=True)
        for target in _opened(urls)
    ]
    until = clock.monotonic() + seconds
    for one in sending:
        # Where the host gives no thread, the others may have one.
        with contextlib.suppress(RuntimeError):
            one.start()
    for one in sending:
        with contextlib.suppress(RuntimeError):
            one.join(max(0.0, until - clock.monotonic()))


def _opened(urls: Sequence[str]) -> Iterator[Any]:
    # Each by itself: one that Apprise does not know, which the doctor names, keeps no other shut.
    for url in urls:
        with contextlib.suppress(Exception):
            yield from open_targets([url])


def _notify(target: Any, title: str, body: str) -> None:
    # Whatever a library of the target's raises is one more way not to arrive.
    with contextlib.suppress(Exception):
        target.notify(title=title, body=body)
