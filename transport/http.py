"""The HTTP client: every exchange is bounded in time and bytes, and happens once.

Connect, read and total deadlines, a body cap, no redirects, no proxy or certificate
settings from the environment, no cookies, and no retry: who retries is decided by the
caller, who knows whether the request may be repeated.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

import httpcore
import httpx

from domain.secrets import Secret
from transport import strict_json
from transport.failures import FailureKind, TransportError
from transport.sockets import DEPARTURE, Departure, SocketBackend, TlsError

DEFAULT_BODY_CAP_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: to connect, between two reads, and for the whole exchange."""

    connect_seconds: float = 3.0
    read_seconds: float = 10.0
    total_seconds: float = 15.0

    def scaled(self, factor: float) -> "Deadlines":
        """Return the deadlines in seconds of a loop that runs ``factor`` times faster."""
        return Deadlines(
            connect_seconds=self.connect_seconds * factor,
            read_seconds=self.read_seconds * factor,
            total_seconds=self.total_seconds * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How one host is reached.

    ``time_scale`` is the number of loop seconds in one real second: above 1 on a scaled
    replay clock, where the wire is as slow as ever.  ``keepalive_seconds`` stays below
    the idle time after which load balancers drop a connection without a word.
    """

    base_url: str
    deadlines: Deadlines = field(default_factory=Deadlines)
    body_cap_bytes: int = DEFAULT_BODY_CAP_BYTES
    max_connections: int = 8
    keepalive_seconds: float = 60.0
    time_scale: float = 1.0
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Status, headers (lower-case names) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, *, what: str) -> object:
        """Parse the body strictly.

        Raises:
            DataError: the body is not usable JSON.
        """
        return strict_json.parse(self.body, what=what)


class BoundedClient:
    """One shared client for one host."""

    def __init__(self, settings: HttpSettings, headers: Mapping[str, str | Secret]) -> None:
        self._settings = settings
        self._base_url = settings.base_url.rstrip("/")
        self._headers = [(name.encode(), _reveal(text).encode()) for name, text in headers.items()]
        self._deadlines = settings.deadlines.scaled(settings.time_scale)
        self._client = httpx.AsyncClient(
            transport=_PoolTransport(settings), trust_env=False, follow_redirects=False
        )

    @property
    def base_url(self) -> str:
        """Where this client sends to."""
        return self._base_url

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        guard: Callable[[], None] | None = None,
        body_cap_bytes: int | None = None,
        deadlines: Deadlines | None = None,
    ) -> Reply:
        """Exchange one request for one reply, whatever its status.

        Args:
            method: HTTP method.
            path: absolute path; appended to the base URL as it is.
            params: query parameters, in order.
            body: request body; JSON unless ``headers`` name another content type.
            headers: more headers for this request.
            guard: called in the same no-await section as the first socket write; what
                it raises reaches the caller, and then nothing was written.
            body_cap_bytes: largest reply for this request, else the client's.
            deadlines: deadlines for this request, else the client's.

        Raises:
            TransportError: no reply; ``was_sent`` tells whether the request may have left.
        """
        bounds = self._deadlines if deadlines is None else self._scale(deadlines)
        request = self._build(method, path, params, body, headers or {}, bounds)
        cap = self._settings.body_cap_bytes if body_cap_bytes is None else body_cap_bytes
        departure = Departure(body_length=len(body or b""), guard=guard)
        token = DEPARTURE.set(departure)
        try:
            async with asyncio.timeout(bounds.total_seconds):
                return await self._exchange(request, cap, departure)
        except (TimeoutError, httpcore.TimeoutException) as exc:
            raise self._failure(exc, FailureKind.TIMEOUT, request, departure) from exc
        except httpcore.ConnectError as exc:
            kind = FailureKind.TLS if isinstance(exc, TlsError) else FailureKind.CONNECT
            raise self._failure(exc, kind, request, departure) from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError) as exc:
            raise self._failure(exc, FailureKind.BROKEN, request, departure) from exc
        finally:
            DEPARTURE.reset(token)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _scale(self, deadlines: Deadlines) -> Deadlines:
        return deadlines.scaled(self._settings.time_scale)

    def _build(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        body: bytes | None,
        headers: Mapping[str, str],
        bounds: Deadlines,
    ) -> httpx.Request:
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        own = {name.lower() for name in headers}
        lines = list(self._headers)
        lines += [(name.encode(), text.encode()) for name, text in headers.items()]
        # Plain bytes only: a small compressed reply could unfold beyond the cap.
        lines += [(b"Accept-Encoding", b"identity"), (b"User-Agent", b"openbell")]
        if body is not None and "content-type" not in own:
            lines.append((b"Content-Type", b"application/json"))
        timeouts = {
            "connect": bounds.connect_seconds,
            "read": bounds.read_seconds,
            "write": bounds.read_seconds,
            "pool": None,
        }
        return httpx.Request(
            method,
            f"{self._base_url}{path}{query}",
            headers=lines,
            content=body,
            extensions={"timeout": timeouts},
        )

    async def _exchange(self, request: httpx.Request, cap: int, departure: Departure) -> Reply:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self._failure(None, FailureKind.ENCODED, request, departure)
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > cap:
                    raise self._failure(None, FailureKind.TOO_LARGE, request, departure)
        finally:
            await response.aclose()
        return Reply(status=response.status_code, headers=dict(response.headers), body=bytes(body))

    @staticmethod
    def _failure(
        cause: BaseException | None,
        kind: FailureKind,
        request: httpx.Request,
        departure: Departure,
    ) -> BaseException:
        # What the guard raised goes to the caller as it is, even if it looks like ours.
        if departure.refusal is not None:
            return departure.refusal
        detail = f" ({cause})" if cause is not None and str(cause) else ""
        sent = "after sending" if departure.is_written else "before anything was sent"
        where = f"{request.method} {request.url.host}{request.url.path}"
        return TransportError(
            f"{where}: {kind.value} failure {sent}{detail}",
            kind=kind,
            was_sent=departure.is_written,
        )


class _PoolTransport(httpx.AsyncBaseTransport):
    """httpx on top, httpcore's connection pool below, our sockets underneath."""

    def __init__(self, settings: HttpSettings) -> None:
        is_secure = settings.base_url.lower().startswith("https:")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls_context(settings.ca_file) if is_secure else None,
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_connections,
            keepalive_expiry=settings.keepalive_seconds,
            retries=0,
            network_backend=SocketBackend(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_ReplyStream(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _ReplyStream(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in cast(AsyncIterator[bytes], self._response.stream):
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _reveal(text: str | Secret) -> str:
    return text.reveal() if isinstance(text, Secret) else text
