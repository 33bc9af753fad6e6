"""The HTTP API: what the command line reads, over loopback; of control only stop and pause."""

import asyncio
import datetime as dt
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Body, FastAPI, Header, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from daemon.telemetry.controls import Controls
from daemon.web.curve import equity_points
from daemon.web.events import EventStreams
from daemon.web.guard import Token
from daemon.web.overview import Overview
from domain.errors import OpenbellError, StateError
from domain.reasons import printable
from reports.write import DIRECTORY
from state.reader import Reader

Result = TypeVar("Result")
Rows = list[dict[str, Any]]
OnDate = Annotated[dt.date | None, Query(alias="date", description="Session date in New York.")]

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "dashboard.js": "text/javascript",
    "dashboard.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_FORMATS = {
    "html": "text/html",
    "md": "text/markdown",
    "json": "application/json",
    "csv": "text/csv",
}
_LISTINGS: Mapping[str, Callable[[Reader], Any]] = {
    "status": Reader.status,
    "scores": Reader.scores,
    "positions": Reader.positions,
    "runs": Reader.runs,
    "costs": Reader.costs,
    "reports": Reader.reports,
    "incidents": Reader.incidents,
}
_DOCUMENTS = frozenset({"status", "scores"})
_DATED: Mapping[str, Callable[[Reader, dt.date | None], Rows]] = {
    "orders": Reader.orders,
    "fills": Reader.fills,
    "forecasts": Reader.forecasts,
    "signals": Reader.signals,
    "sentiment": Reader.sentiment,
    "matured": Reader.matured,
}
_REPORT = re.compile(r"\d{4}-(\d{2}-\d{2}|\d{2}|W\d{2})")
_PERIOD = re.compile(r"\d{4}-(\d{2}|W\d{2})")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Answers = dict[int | str, dict[str, Any]]
_NOT_READ: _Answers = {503: {"description": "The state could not be read."}}
_REFUSED: _Answers = {
    400: {"description": "The body is not JSON."},
    401: {"description": "The token is missing or wrong."},
    403: {"description": "No token is configured, or another page asked."},
    413: {"description": "The body is too long."},
}
_EVERYWHERE: _Answers = {421: {"description": "The Host header names another machine."}}


def _shown(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


class Reason(BaseModel):
    """Why; kept in the latch or the marker, and shown to everybody."""

    model_config = ConfigDict(extra="forbid")

    # Nothing in a reason holds a kill back: half an emoji becomes a space.
    reason: Annotated[str, BeforeValidator(_shown)] = Field(default="dashboard", max_length=500)


class Taken(BaseModel):
    """What is in force now."""

    engaged: bool | None = None
    paused: bool | None = None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the endpoints work with; ``metrics`` makes the text of /metrics."""

    directory: Path
    overview: Overview
    controls: Controls
    token: Token
    streams: EventStreams
    metrics: Callable[[], bytes]


def build_api(parts: Parts) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="openbell",
        description="Loopback control and telemetry.  Nothing here raises risk.",
        docs_url=None,
        redoc_url=None,
        responses=_EVERYWHERE,
    )
    app.add_exception_handler(StateError, _unreadable)
    app.add_exception_handler(RequestValidationError, _not_understood)
    _add_pages(app, parts)
    _add_health(app, parts)
    _add_listings(app, parts)
    _add_stories(app, parts)
    _add_control(app, parts)
    return app


async def _unreadable(_: Request, exc: Exception) -> Response:
    return JSONResponse({"detail": str(exc)}, status_code=503)


async def _not_understood(_: Request, exc: Exception) -> Response:
    # Not what was sent: JSON reads what JSON cannot be made of, such as NaN.
    found = exc.errors() if isinstance(exc, RequestValidationError) else ()
    detail = [
        {"loc": [_shown(part) for part in one["loc"]], "msg": one["msg"], "type": one["type"]}
        for one in found
    ]
    return JSONResponse({"detail": detail}, status_code=422)


async def _off_loop(read: Callable[[], Result]) -> Result:
    # A big listing must not hold the loop up while an order waits.
    return await asyncio.to_thread(read)


def _add_pages(app: FastAPI, parts: Parts) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_STATIC / "index.html", media_type="text/html")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(_STATIC / name, media_type=_FILES[name])

    @app.get("/reports/{name}/report.{form}", include_in_schema=False)
    async def report(name: str, form: str) -> Response:
        path = parts.directory / DIRECTORY / name / f"report.{form}"
        if not _REPORT.fullmatch(name) or form not in _FORMATS or not path.is_file():
            raise HTTPException(404, "no such report")
        return FileResponse(path, media_type=_FORMATS[form])


def _add_health(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        summary="Reconciled and able to trade?",
        responses={503: {"description": "Not ready, with the reasons."}},
    )
    async def readyz(response: Response) -> dict[str, Any]:
        problems = await _off_loop(parts.overview.problems)
        response.status_code = 503 if problems else 200
        return {"status": "not ready" if problems else "ready", "problems": list(problems)}

    @app.get("/metrics", summary="Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(await _off_loop(parts.metrics), media_type=_METRICS_TYPE)

    @app.get("/api/v1/events", summary="Server-sent events", response_class=StreamingResponse)
    async def events() -> Response:
        if parts.streams.is_full:
            raise HTTPException(503, "too many pages are open")
        return StreamingResponse(parts.streams.follow(), media_type="text/event-stream")


def _add_listings(app: FastAPI, parts: Parts) -> None:
    async def read(ask: Callable[[Reader], Result]) -> Result:
        def opened() -> Result:
            with Reader(parts.directory) as reader:
                return ask(reader)

        return await _off_loop(opened)

    def listing(ask: Callable[[Reader], Any]) -> Callable[[], Awaitable[Any]]:
        async def answer() -> Any:
            return await read(ask)

        return answer

    def dated(ask: Callable[[Reader, dt.date | None], Rows]) -> Callable[..., Awaitable[Rows]]:
        async def answer(date: OnDate = None) -> Rows:
            return await read(lambda reader: ask(reader, date))

        return answer

    endpoints = {
        **{name: listing(ask) for name, ask in _LISTINGS.items()},
        **{name: dated(ask) for name, ask in _DATED.items()},
    }
    for name, endpoint in endpoints.items():
        kind = dict[str, Any] if name in _DOCUMENTS else Rows
        app.add_api_route(
            f"/api/v1/{name}", endpoint, name=name, response_model=kind, responses=_NOT_READ
        )


def _add_stories(app: FastAPI, parts: Parts) -> None:
    @app.get("/api/v1/periods", summary="Weeks and months that have a report")
    async def periods() -> Rows:
        return await _off_loop(lambda: rolled_up(parts.directory))

    @app.get("/api/v1/overview", responses=_NOT_READ)
    async def overview() -> dict[str, Any]:
        return dict(await _off_loop(parts.overview.document))

    @app.get("/api/v1/equity", responses=_NOT_READ)
    async def equity(
        points: Annotated[int, Query(ge=2, le=5000, description="At most so many.")] = 500,
    ) -> Rows:
        def read() -> Rows:
            with Reader(parts.directory) as reader:
                return equity_points(reader, points)

        return await _off_loop(read)

    @app.get(
        "/api/v1/explain/{symbol}",
        responses={**_NOT_READ, 404: {"description": "Not in that decision."}},
    )
    async def explain(
        symbol: Annotated[str, PathParameter(pattern=r"^[A-Za-z][A-Za-z0-9.\-]{0,11}$")],
        date: OnDate = None,
    ) -> dict[str, Any]:
        def read() -> dict[str, Any] | None:
            with Reader(parts.directory) as reader:
                return reader.decision(symbol.upper(), date)

        story = await _off_loop(read)
        if story is None:
            raise HTTPException(404, f"{symbol.upper()} is not in that decision")
        return story


def _add_control(app: FastAPI, parts: Parts) -> None:
    def check(authorization: str | None) -> None:
        refused = parts.token.refusal(authorization)
        if refused is not None:
            raise HTTPException(refused[0], refused[1])

    authorized = Annotated[str | None, Header(description="Bearer TOKEN")]

    @app.post("/api/v1/kill", responses={**_REFUSED, **_NOT_READ}, status_code=202)
    async def kill(reason: Annotated[Reason, Body()], authorization: authorized = None) -> Taken:
        check(authorization)
        try:
            parts.controls.kill(f"dashboard: {reason.reason}")
        except OpenbellError as exc:
            raise HTTPException(503, f"{exc}; use openbell kill") from exc
        return Taken(engaged=True, reason=reason.reason)

    @app.post("/api/v1/pause", responses={**_REFUSED, **_NOT_READ}, status_code=202)
    async def pause(reason: Annotated[Reason, Body()], authorization: authorized = None) -> Taken:
        check(authorization)
        try:
            parts.controls.pause(f"dashboard: {reason.reason}")
        except OpenbellError as exc:
            raise HTTPException(503, f"{exc}; use openbell kill") from exc
        return Taken(paused=True, reason=reason.reason)


def rolled_up(state: Path) -> Rows:
    """Return the weeks and months that were reported, the newest first."""
    folder = state / DIRECTORY
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [
        {"name": name, "period": "week" if "W" in name else "month"}
        for name in sorted(names, reverse=True)
        if _PERIOD.fullmatch(name)
    ]
