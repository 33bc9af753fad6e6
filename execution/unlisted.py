"""Cancel without a list: what is left to a kill while the open orders cannot be read.

The broker's answer proves nothing, so the kill stays unverified until a list comes back.
"""

from collections.abc import Callable

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import AuthRefused, NotSent, OrderRejected, RateLimited
from execution.waiting import retry_after

_UNREAD = "the list of open orders cannot be read"


class Unlisted:
    """Asks the broker to cancel everything, and remembers what became of that."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        *,
        keeps_nothing: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        """Take ``keeps_nothing``, which tells whether no order that may be open shall stay."""
        self._broker = broker
        self._clock = clock
        self._keeps_nothing = keeps_nothing
        self._tell = tell
        self._told = ""
        self._quiet_until = 0.0
        self._is_asked = False

    @property
    def problem(self) -> str:
        """What the operator has to know where no list came at all."""
        if not self._is_asked:
            return "open orders could not be read: the broker does not answer"
        return (
            "open orders could not be read: the broker was asked to cancel everything, and"
            " nothing shows yet that it did"
        )

    async def ask(self) -> None:
        """Ask once, unless something is to be kept or the broker wants a pause.

        Raises:
            AuthRefused: the keys were refused.
        """
        if self._clock.monotonic() < self._quiet_until or not self._keeps_nothing():
            return
        try:
            await self._broker.cancel_everything()
        except AuthRefused:
            raise
        except RateLimited as exc:
            self._quiet_until = self._clock.monotonic() + retry_after(exc.retry_after_seconds)
            self._say("could not ask the broker to cancel everything yet", exc)
        except (NotSent, OrderRejected) as exc:
            self._say("could not ask the broker to cancel everything", exc)
        except Exception as exc:  # noqa: BLE001 - a bug at the answer must not end the kill
            self._is_asked = True
            self._say("asked the broker to cancel everything, and got no clear answer", exc)
        else:
            self._is_asked = True
            self._say("asked the broker to cancel everything")

    def _say(self, what: str, why: Exception | None = None) -> None:
        # It is asked every round; each outcome is worth one line.
        if what != self._told:
            self._told = what
            self._tell(f"{_UNREAD}: {what}" + (f" ({why})" if why is not None else ""))
