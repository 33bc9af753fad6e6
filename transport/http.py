"""The HTTP client: every exchange is bounded in time and bytes, and happens once.

Connect, read and total deadlines, a body cap, no redirects, no proxy or certificate
settings from the environment, no cookies, and no retry: who retries is decided by the
caller, who knows whether the request may be repeated.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx

from domain.errors import ConfigError
from domain.secrets import Secret
from transport import strict_json
from transport.exchanges import DEPARTURE, Departure, Exchanges
from transport.failures import FailureKind, TransportError
from transport.sockets import WireError

DEFAULT_BODY_CAP_BYTES = 2 * 1024 * 1024

Egress = Callable[[str, str, bytes | None], None]
"""Asked with method, path and body where a request leaves, after its own guard; may raise."""


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
    """One shared client for one host; ConfigError where its address or a key cannot be used."""

    def __init__(
        self,
        settings: HttpSettings,
        headers: Mapping[str, str | Secret],
        *,
        egress: Egress | None = None,
    ) -> None:
        self._settings = settings
        self._egress = egress
        self._base_url = _checked(settings.base_url.rstrip("/"))
        self._headers = [(name.encode(), _reveal(name, text)) for name, text in headers.items()]
        self._deadlines = settings.deadlines.scaled(settings.time_scale)
        is_secure = self._base_url.lower().startswith("https:")
        pool = Exchanges(
            tls=_tls_context(settings.ca_file) if is_secure else None,
            max_connections=settings.max_connections,
            keepalive_seconds=settings.keepalive_seconds * settings.time_scale,
        )
        self._client = httpx.AsyncClient(transport=pool, trust_env=False, follow_redirects=False)

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
        departure = Departure(
            connect_seconds=bounds.connect_seconds,
            read_seconds=bounds.read_seconds,
            guard=self._watched(guard, method, path, body),
        )
        request = self._build(method, path, params, body, headers or {}, departure)
        cap = self._settings.body_cap_bytes if body_cap_bytes is None else body_cap_bytes
        try:
            async with asyncio.timeout(bounds.total_seconds):
                return await self._exchange(request, cap)
        except TimeoutError as exc:
            raise _failure(exc, FailureKind.TIMEOUT, request, departure) from exc
        except WireError as exc:
            raise _failure(exc, exc.kind, request, departure) from exc
        except httpx.HTTPError as exc:
            raise _failure(exc, FailureKind.BROKEN, request, departure) from exc

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _watched(
        self, guard: Callable[[], None] | None, method: str, path: str, body: bytes | None
    ) -> Callable[[], None] | None:
        egress = self._egress
        if egress is None:
            return guard

        def leave() -> None:
            if guard is not None:
                guard()
            egress(method, path, body)

        return leave

    def _scale(self, deadlines: Deadlines) -> Deadlines:
        return deadlines.scaled(self._settings.time_scale)

    def _build(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        body: bytes | None,
        headers: Mapping[str, str],
        departure: Departure,
    ) -> httpx.Request:
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        own = {name.lower() for name in headers}
        lines = list(self._headers)
        lines += [(name.encode(), text.encode()) for name, text in headers.items()]
        # Plain bytes only: a small compressed reply could unfold beyond the cap.
        lines += [(b"Accept-Encoding", b"identity"), (b"User-Agent", b"openbell")]
        if body is not None and "content-type" not in own:
            lines.append((b"Content-Type", b"application/json"))
        return httpx.Request(
            method,
            f"{self._base_url}{path}{query}",
            headers=lines,
            content=body,
            extensions={DEPARTURE: departure},
        )

    async def _exchange(self, request: httpx.Request, cap: int) -> Reply:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            if response.headers.get("content-encoding", "identity") != "identity":
                raise WireError(FailureKind.ENCODED, "plain bytes were asked for")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > cap:
                    raise WireError(FailureKind.TOO_LARGE, f"more than {cap} bytes")
        finally:
            await response.aclose()
        return Reply(status=response.status_code, headers=dict(response.headers), body=bytes(body))


def _failure(
    cause: BaseException, kind: FailureKind, request: httpx.Request, departure: Departure
) -> BaseException:
    # What the guard raised goes to the caller as it is, even if it looks like ours.
    if departure.refusal is not None:
        return departure.refusal
    detail = f" ({cause})" if str(cause) else ""
    sent = "after sending" if departure.is_written else "before anything was sent"
    where = f"{request.method} {request.url.host}{request.url.path}"
    return TransportError(
        f"{where}: {kind.value} failure {sent}{detail}", kind=kind, was_sent=departure.is_written
    )


def _checked(base_url: str) -> str:
    try:
        httpx.URL(base_url)
    except httpx.InvalidURL as exc:
        raise ConfigError(
            f"{base_url!r} is no address ({exc}): put the key that names it right"
        ) from exc
    return base_url


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    # Both verify certificate and host name, and speak TLS 1.2 or newer.
    if ca_file is not None:
        return ssl.create_default_context(cafile=str(ca_file))
    return httpx.create_ssl_context(trust_env=False)


def _reveal(name: str, text: str | Secret) -> bytes:
    shown = text.reveal() if isinstance(text, Secret) else text
    if not (shown.isascii() and shown.isprintable()):
        raise ConfigError(f"{name}: the key has characters that cannot be sent; check its end")
    return shown.encode()
