"""A read-only session for SDKs that bring ``requests``: the bytes go through our client.

The SDK keeps its knowledge of paths and pages and runs in a worker thread; deadlines,
body cap, no redirects and no proxy are those of the bounded client on the event loop.
"""

import asyncio
from typing import Any

import requests

from domain.errors import ProviderUnavailable
from transport import strict_json
from transport.http import BoundedClient


class SdkResponse(requests.Response):
    """What an SDK expects of a reply; JSON is parsed strictly, fractions are Decimal."""

    def json(self, **_: Any) -> Any:
        """Parse the body.

        Raises:
            DataError: it is not usable JSON.
        """
        return strict_json.parse(self.content, what=self.url)


class SdkSession:
    """Stands in for ``requests.Session`` during one call of an SDK.

    Args:
        client: bounded client whose base URL starts every URL of the SDK.
        loop: the event loop the client lives on; not the thread that uses the session.
        max_requests: an SDK that pages for ever is stopped after so many.
    """

    def __init__(
        self, client: BoundedClient, *, loop: asyncio.AbstractEventLoop, max_requests: int = 500
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
        """Exchange one request for one reply, in the SDK's thread.

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
        return _response(target, reply.status, dict(reply.headers), reply.body)


def _response(url: str, status: int, headers: dict[str, str], body: bytes) -> SdkResponse:
    response = SdkResponse()
    response.url = url
    response.status_code = status
    response.headers.update(headers)
    response.encoding = "utf-8"
    response._content = body
    return response
