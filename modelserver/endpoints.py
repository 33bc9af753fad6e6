"""The Open Inference Protocol (V2) over HTTP, and the metrics beside it."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from domain.clock import Clock
from domain.secrets import Secret
from forecasts import wire
from modelserver import inference
from modelserver.admission import Admission
from modelserver.bodies import discard_body, read_body
from modelserver.catalog import Catalog
from modelserver.metadata import index_document, model_document, server_document
from modelserver.metrics import CONTENT_TYPE, UNKNOWN, ServerMetrics
from modelserver.refusals import FAILED, UNAUTHORIZED, InferenceRefused, unavailable
from modelserver.settings import ServerSettings

Handler = Callable[[Request], Awaitable[Response]]
_OK = 200
_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"


class Endpoints:
    """Every path of the server."""

    def __init__(
        self,
        catalog: Catalog,
        settings: ServerSettings,
        *,
        admission: Admission,
        metrics: ServerMetrics,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._clock = clock
        self._log = structlog.get_logger("requests")

    def application(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            # Probes carry no token; they tell nothing but yes or no.
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            self._guarded("/v2", self._server),
            self._guarded("/metrics", self._render_metrics),
            self._guarded("/v2/models", self._models),
            self._guarded("/v2/repository/index", self._index, "POST"),
        ]
        for path in (_MODEL, _VERSION):
            routes += [
                self._guarded(path, self._model),
                self._guarded(path + "/ready", self._model_ready),
                self._guarded(path + "/infer", self._infer, "POST"),
            ]
        return Starlette(
            routes=routes,
            exception_handlers={
                InferenceRefused: self._refused,
                HTTPException: _http_error,
                Exception: self._failed,
            },
        )

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, request: Request) -> Response:
        if self._admission.is_draining:
            raise unavailable("the server is going down")
        return JSONResponse({"ready": True})

    async def _server(self, request: Request) -> Response:
        return JSONResponse(server_document())

    async def _render_metrics(self, request: Request) -> Response:
        return Response(self._metrics.render(), headers={"content-type": CONTENT_TYPE})

    async def _models(self, request: Request) -> Response:
        names = {listing.name for listing in self._catalog.index() if listing.is_ready}
        return JSONResponse({"models": sorted(names)})

    async def _index(self, request: Request) -> Response:
        return JSONResponse(index_document(self._catalog.index()))

    async def _model(self, request: Request) -> Response:
        model = await self._catalog.find(*_asked(request))
        return JSONResponse(model_document(model.card, self._catalog.versions(model.card.name)))

    async def _model_ready(self, request: Request) -> Response:
        model = await self._catalog.find(*_asked(request))
        if self._admission.is_draining:
            raise unavailable("the server is going down")
        return JSONResponse({"name": model.card.name, "ready": True})

    async def _infer(self, request: Request) -> Response:
        started = self._clock.monotonic()
        name, version, status = UNKNOWN, UNKNOWN, FAILED
        try:
            with self._admission.enter():
                body = await read_body(
                    request,
                    cap_bytes=self._settings.body_cap_bytes,
                    seconds=self._settings.body_seconds,
                )
                length = request.headers.get(wire.HEADER_LENGTH)
                message = await asyncio.to_thread(inference.decode, body, length)
                model = await self._catalog.find(
                    *_asked(request), model_hash=message.parameters.get(inference.MODEL_HASH)
                )
                card = model.card
                name, version = card.name, card.version
                contexts = await asyncio.to_thread(inference.contexts_of, message, card)
                quantiles = await model.lane.ask(contexts)
                encoded = await asyncio.to_thread(inference.answer, message, card, quantiles)
            status = _OK
        except InferenceRefused as exc:
            status = exc.status
            raise
        finally:
            self._note(name, version, status, self._clock.monotonic() - started)
        return Response(encoded.body, headers=dict(encoded.headers))

    def _note(self, name: str, version: str, status: int, seconds: float) -> None:
        self._metrics.requests.labels(name, version, str(status)).inc()
        if status == _OK:
            self._metrics.seconds.labels(name, version).observe(seconds)
            self._admission.note(seconds)

    def _guarded(self, path: str, handler: Handler, method: str = "GET") -> Route:
        async def guarded(request: Request) -> Response:
            _check_token(request, self._settings.token)
            return await handler(request)

        return Route(path, guarded, methods=[method])

    async def _refused(self, request: Request, exc: Exception) -> Response:
        refusal = exc if isinstance(exc, InferenceRefused) else InferenceRefused(FAILED, str(exc))
        if request.method == "POST":
            await discard_body(request, cap_bytes=self._settings.body_cap_bytes)
        headers = {}
        if refusal.retry_after_seconds is not None:
            headers["retry-after"] = str(refusal.retry_after_seconds)
        if refusal.status == UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        self._log.warning(
            "request.refused", path=request.url.path, status=refusal.status, reason=str(refusal)
        )
        return JSONResponse({"error": str(refusal)}, status_code=refusal.status, headers=headers)

    async def _failed(self, request: Request, exc: Exception) -> Response:
        # A traceback is for our log, never for the client.
        self._log.error("request.failed", path=request.url.path, exc_info=exc)
        return JSONResponse({"error": "the server failed; see its log"}, status_code=FAILED)


def _asked(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("version")


def _check_token(request: Request, token: Secret | None) -> None:
    if token is None or not token:
        return
    if not hmac.compare_digest(_given_token(request).encode(), token.reveal().encode()):
        raise InferenceRefused(
            UNAUTHORIZED,
            "the token is missing or wrong; send Authorization: Bearer TOKEN, or X-Api-Key: TOKEN",
        )


def _given_token(request: Request) -> str:
    # Some hosts keep Authorization for themselves, hence the other header.
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return request.headers.get("x-api-key", "").strip()


async def _http_error(request: Request, exc: Exception) -> Response:
    # Starlette's own refusals, such as an unknown path, in the protocol's form.
    if not isinstance(exc, HTTPException):
        return JSONResponse({"error": "failed"}, status_code=FAILED)
    return JSONResponse({"error": exc.detail}, status_code=exc.status_code, headers=exc.headers)
