"""How Alpaca's data API is read: by the SDK in a thread, group by group, over our client.

alpaca-py builds the requests and follows the pages; its transport is replaced (see
transport.sdk_session) and its retry switched off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from domain.clock import Clock
from domain.errors import ProviderRefused, ProviderUnavailable, first_cause
from domain.ids import Symbol
from domain.secrets import Secret
from transport.http import BoundedClient, Deadlines, HttpSettings
from transport.sdk_session import HttpRefusal, SdkCaller, SdkSession

_REFUSED = frozenset({401, 403})

Client = TypeVar("Client")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where the data API is and how it is asked.

    ``group_size`` symbols share a request; ``fetch_seconds`` bounds a whole fetch.
    """

    data_url: str = "https://data.alpaca.markets"
    deadlines: Deadlines = field(default_factory=Deadlines)
    fetch_seconds: float = 180.0
    group_size: int = 50
    concurrency: int = 4
    time_scale: float = 1.0


class AlpacaData:
    """Reads with the keys of one account; ``max_requests`` stops pages without end."""

    def __init__(
        self,
        settings: DataSettings,
        *,
        key_id: Secret,
        secret_key: Secret,
        clock: Clock,
        body_cap_bytes: int,
        max_requests: int,
    ) -> None:
        http = HttpSettings(
            base_url=settings.data_url,
            deadlines=settings.deadlines,
            body_cap_bytes=body_cap_bytes,
            max_connections=settings.concurrency,
            time_scale=settings.time_scale,
        )
        self._settings = settings
        self._client = BoundedClient(http, {})
        self._caller = SdkCaller(
            self._client, clock=clock, concurrency=settings.concurrency, max_requests=max_requests
        )
        self._key_id = key_id
        self._secret_key = secret_key

    async def call(self, kind: Callable[..., Client], use: Callable[[Client], Result]) -> Result:
        """Let ``use`` work with a client of the SDK, in a thread.

        Raises:
            ProviderRefused: the keys or the plan do not allow it.
            ProviderUnavailable: no usable answer.
        """

        def run(session: SdkSession) -> Result:
            client: Any = kind(
                self._key_id.reveal(),
                self._secret_key.reveal(),
                raw_data=True,
                url_override=self._caller.base_url,
            )
            # Private names, pinned with the version: the SDK has no other way in.
            client._session = session
            client._retry = 0
            return use(client)

        try:
            return await self._caller.call(run)
        except HttpRefusal as exc:
            raise _explained(exc) from exc

    async def in_groups(
        self,
        symbols: Iterable[Symbol],
        fetch: Callable[[Sequence[Symbol]], Awaitable[Result]],
        *,
        what: str,
    ) -> list[Result]:
        """Fetch groups of symbols side by side, all within ``fetch_seconds``.

        Raises:
            ProviderUnavailable: one of them had no usable answer, or not in time.
        """
        wanted, size = sorted(set(symbols)), self._settings.group_size

        async def one(group: Sequence[Symbol]) -> Result:
            return await fetch(group)

        limit = self._settings.fetch_seconds * self._settings.time_scale
        try:
            async with asyncio.timeout(limit), asyncio.TaskGroup() as tasks:
                fetched = [
                    tasks.create_task(one(wanted[place : place + size]))
                    for place in range(0, len(wanted), size)
                ]
        except TimeoutError as exc:
            raise ProviderUnavailable(
                f"alpaca: {what} of {len(wanted)} symbols did not come within"
                f" {self._settings.fetch_seconds:g} s"
            ) from exc
        except BaseExceptionGroup as failures:
            raise first_cause(failures) from failures
        return [task.result() for task in fetched]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _explained(exc: HttpRefusal) -> ProviderUnavailable:
    if "recent SIP data" in exc.text:
        return ProviderRefused(
            'alpaca: the plan does not allow the SIP feed; set marketdata.alpaca.feed = "iex"'
        )
    if exc.status in _REFUSED:
        return ProviderRefused(f"alpaca: the keys were refused; check APCA_API_KEY_ID: {exc}")
    return ProviderUnavailable(f"alpaca: {exc}")
