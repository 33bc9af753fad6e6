"""What every request must pass: the right host, the right origin, for control the token.

A page elsewhere can make a browser talk to loopback, and DNS can point any name here;
so the Host must be ours, an Origin must be ours, and control needs a secret that no other
page knows.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import ConfigError
from domain.secrets import Secret

Counted = Callable[[int], None]

_HTTP = 80
MOST_BODY_BYTES = 4096
SHORTEST_TOKEN = 20
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; sandbox"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Token:
    """The control token, compared in constant time.

    Wrong ones are not counted towards a lock: whoever may guess could then keep a person
    from stopping.  A token too short to withstand guessing is refused at the start.
    """

    def __init__(self, secret: Secret | None) -> None:
        if secret is not None and len(secret.reveal()) < SHORTEST_TOKEN:
            raise ConfigError(
                f"OPENBELL_HTTP_TOKEN: has fewer than {SHORTEST_TOKEN} characters; make one with"
                " `openssl rand -hex 24`"
            )
        self._secret = secret

    @property
    def is_set(self) -> bool:
        """False where control over HTTP is switched off."""
        return self._secret is not None

    def refusal(self, authorization: str | None) -> tuple[int, str] | None:
        """Return status and sentence when control is refused, None when it is allowed."""
        if self._secret is None:
            return 403, "control over HTTP is off: set OPENBELL_HTTP_TOKEN, or use openbell kill"
        scheme, _, given = (authorization or "").partition(" ")
        expected = self._secret.reveal().encode()
        if scheme.lower() != "bearer" or not given:
            return 401, "control needs the header Authorization: Bearer TOKEN"
        if not hmac.compare_digest(given.strip().encode(), expected):
            return 401, "the token is wrong"
        return None


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, port: int, counted: Counted) -> None:
        self._app = app
        names = {"127.0.0.1", "localhost", "[::1]"}
        self._hosts = {f"{name}:{port}" for name in names}
        if port == _HTTP:
            # A browser leaves the default out.
            self._hosts |= names
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with a bounded body and strict headers."""
        if scope["type"] != "http":
            # No WebSocket is served, and the lifespan is not used.
            return
        send = self._strict(scope, send)
        problem = self._refusal(Headers(scope=scope))
        if problem is None:
            problem, receive = await _bounded(scope, receive)
        if problem is not None:
            status, text = problem
            await JSONResponse({"detail": text}, status_code=status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "this address is not served here; use the loopback address"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin):
            return 403, "requests from other pages are refused"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return 403, "requests from other pages are refused"
        return None

    def _is_own(self, origin: str) -> bool:
        parts = urlsplit(origin)
        return parts.scheme == "http" and parts.netloc.lower() in self._hosts

    def _strict(self, scope: Scope, send: Send) -> Send:
        is_report = scope["path"].startswith("/reports/")

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counted(message["status"])
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _REPORT_POLICY if is_report else _PAGE_POLICY
                headers.setdefault("Cache-Control", "no-store")
                headers.update(_HEADERS)
            await send(message)

        return strict


async def _bounded(
    scope: MutableMapping[str, Any], receive: Receive
) -> tuple[tuple[int, str] | None, Callable[[], Awaitable[Message]]]:
    """Read a body to its end, or refuse it; what reads it later reads the copy."""
    if scope["method"] in {"GET", "HEAD"}:
        return None, receive
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return (400, "the request ended early"), receive
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            return (413, f"the body may have {MOST_BODY_BYTES} bytes"), receive
        if not message.get("more_body"):
            break
    is_read = False

    async def again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return None, again
