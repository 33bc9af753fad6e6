"""A read-only session for SDKs that bring ``requests``: the bytes go through our client.

The SDK keeps its knowledge of paths and pages and runs in a worker thread; deadlines,
body cap, no redirects and no proxy are those of the bounded client on the event loop.
Reads that may work a little later are repeated here, and only here.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import requests

from domain.clock import Clock
from domain.errors import DataError, ProviderUnavailable
from domain.reasons import one_line
from transport import strict_json
from transport.failures import FailureKind, TransportError
from transport.http import BoundedClient, Reply
from transport.pacing import retry_after_seconds, seconds_until_reset

_ATTEMPTS = 3
_BACKOFF_SECONDS = 1.0
_FIRST_SUCCESS_STATUS = 200
_FIRST_REDIRECT_STATUS = 300
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_STATUS = 500
_MAY_PASS = frozenset({FailureKind.CONNECT, FailureKind.BROKEN})
_SHOWN_CHARACTERS = 200
# What an SDK makes of an answer that it did not expect.
_STRANGE = (DataError, ValueError, OverflowError, TypeError, AttributeError, LookupError)

Result = TypeVar("Result")


class HttpRefusal(ProviderUnavailable):
    """The service answered with a status that is not a success."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        shown = one_line(" ".join(text.split())[:_SHOWN_CHARACTERS])
        super().__init__(f"HTTP {status} ({shown})")
        self.status = status
        self.text = shown
        self.headers = headers


class SdkResponse(requests.Response):
    """What an SDK expects of a reply; JSON is parsed strictly, fractions are floats."""

    @classmethod
    def of(cls, url: str, reply: Reply) -> "SdkResponse":
        """Dress a reply as one of ``requests``."""
        response = cls()
        response.url = url
        response.status_code = reply.status
        response.headers.update(reply.headers)
        response.encoding = "utf-8"
        response._content = reply.body
        return response

    def raise_for_status(self) -> None:
        """Raise HttpRefusal unless the status is a success; a redirect is none."""
        status = self.status_code or 0
        if not _FIRST_SUCCESS_STATUS <= status < _FIRST_REDIRECT_STATUS:
            headers = {name.lower(): text for name, text in self.headers.items()}
            raise HttpRefusal(status, self.text, headers)

    def json(self, **_: Any) -> Any:
        """Parse the body.

        Raises:
            DataError: it is not usable JSON.
        """
        return strict_json.parse(self.content, what=self.url, is_exact=False)


class SdkSession:
    """Stands in for ``requests.Session`` during one call of an SDK, in its thread."""

    def __init__(
        self, client: BoundedClient, *, loop: asyncio.AbstractEventLoop, max_requests: int
    ) -> None:
        self._client = client
        self._loop = loop
        self._left = max_requests
        self._is_abandoned = False

    def abandon(self) -> None:
        """Refuse further requests: nobody waits for the answer any more."""
        self._is_abandoned = True

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        params: Any = None,
        **_: Any,
    ) -> requests.Response:
        """Exchange one request for one reply.

        Raises:
            ProviderUnavailable: no reply, or no more requests are allowed.
        """
        if method.upper() != "GET":
            raise ProviderUnavailable(f"{method} {url}: this session only reads")
        if self._is_abandoned or self._left <= 0:
            raise ProviderUnavailable(f"{self._client.base_url}: the answer has no end")
        self._left -= 1
        target = str(requests.Request(method, url, params=params).prepare().url)
        if not target.startswith(f"{self._client.base_url}/"):
            raise ProviderUnavailable(f"{target}: not an address of {self._client.base_url}")
        path = target.removeprefix(self._client.base_url)
        exchange = self._client.request("GET", path, headers=headers)
        reply = asyncio.run_coroutine_threadsafe(exchange, self._loop).result()
        return SdkResponse.of(target, reply)


class SdkCaller:
    """Runs calls of a blocking SDK: a few at a time, each bounded, repeated if that helps.

    Args:
        client: bounded client whose base URL starts every URL of the SDK.
        clock: times the waits between attempts.
        concurrency: calls in flight at once.
        max_requests: an SDK that pages for ever is stopped after so many.
    """

    def __init__(
        self, client: BoundedClient, *, clock: Clock, concurrency: int = 4, max_requests: int = 500
    ) -> None:
        self._client = client
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._max_requests = max_requests

    @property
    def base_url(self) -> str:
        """Where the SDK must send to."""
        return self._client.base_url

    async def call(self, use: Callable[[SdkSession], Result]) -> Result:
        """Run ``use`` in a worker thread with a session of its own.

        Raises:
            HttpRefusal: the service said no, for good or three times.
            ProviderUnavailable: no answer, or one that the SDK cannot read.
        """
        for attempt in range(_ATTEMPTS):
            try:
                async with self._slots:
                    return await self._once(use)
            except (HttpRefusal, TransportError) as exc:
                wait = self._wait(exc, attempt)
                if wait is None or attempt + 1 == _ATTEMPTS:
                    raise
                await self._clock.sleep(wait)
            except _STRANGE as exc:
                _unreadable(self._client.base_url, exc)
        raise ProviderUnavailable(f"{self._client.base_url}: no attempt was made")

    async def _once(self, use: Callable[[SdkSession], Result]) -> Result:
        loop = asyncio.get_running_loop()
        session = SdkSession(self._client, loop=loop, max_requests=self._max_requests)
        try:
            return await asyncio.to_thread(use, session)
        finally:
            session.abandon()

    def _wait(self, exc: HttpRefusal | TransportError, attempt: int) -> float | None:
        """Return the seconds before the next attempt, or None when it cannot help."""
        backoff = _BACKOFF_SECONDS * 2**attempt
        if isinstance(exc, TransportError):
            # A name server or a first packet may be late once; a server that took the request
            # and said nothing would be as silent again.
            is_unsent = exc.kind is FailureKind.TIMEOUT and not exc.was_sent
            return backoff if is_unsent or exc.kind in _MAY_PASS else None
        if exc.status == _TOO_MANY_REQUESTS:
            now = self._clock.now()
            told = retry_after_seconds(exc.headers.get("retry-after"), now=now)
            reset = seconds_until_reset(exc.headers, now=now)
            return next((wait for wait in (told, reset) if wait is not None), backoff)
        return backoff if exc.status >= _FIRST_SERVER_STATUS else None


def _unreadable(where: str, exc: Exception) -> NoReturn:
    raise ProviderUnavailable(f"{where}: an answer cannot be read ({exc})") from exc
