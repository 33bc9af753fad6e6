"""What every request passes: log, keys, rate limit, faults."""

import datetime as dt
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from brokers.exchange.refusal import Refusal
from brokers.paper_server import mangling
from brokers.paper_server.answers import Answer, Call, Handler, json_answer, refusal_answer
from brokers.paper_server.faults import Fault, FaultBox, FaultKind
from brokers.paper_server.options import Keys
from brokers.paper_server.venue import Venue

_LOG_LENGTH = 50_000
_DATA_PREFIXES = ("/v2/stocks", "/v1beta1", "/v1/")
_EARLY = (
    FaultKind.REFUSE_BEFORE_ACCEPT,
    FaultKind.RATE_LIMIT,
    FaultKind.AUTH_401,
    FaultKind.HTML_502,
    FaultKind.REDIRECT,
    FaultKind.DELIVER_LATE,
)
_LATE = (
    FaultKind.LOSE_ANSWER,
    FaultKind.TRUNCATED_JSON,
    FaultKind.HTML_200,
    FaultKind.CROSSED_ANSWER,
    FaultKind.EXTRA_FIELDS,
    FaultKind.UNKNOWN_STATUS,
    FaultKind.EMPTY_POSITIONS_ONCE,
    FaultKind.DELAY_VISIBILITY,
    FaultKind.REGRESS,
    FaultKind.SHORT_PAGE,
    FaultKind.SLOW_LORIS,
)

Abort = Callable[[tuple[str, int]], None]


class RateLimit:
    """Requests per minute of the venue's time, 0 for no limit."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._minute = 0
        self._used = 0

    def take(self, now: dt.datetime) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it may pass, and the headers that say so."""
        minute = int(now.timestamp()) // 60
        if minute != self._minute:
            self._minute, self._used = minute, 0
        is_allowed = not self.per_minute or self._used < self.per_minute
        self._used += is_allowed
        limit = self.per_minute or 1_000_000
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - self._used)),
            "X-RateLimit-Reset": str((minute + 1) * 60),
        }
        return is_allowed, headers


class Gate:
    """Wraps every handler of the API."""

    def __init__(
        self, venue: Venue, *, keys: Keys, faults: FaultBox, per_minute: int, abort: Abort
    ) -> None:
        self._venue = venue
        self._keys = keys
        self._faults = faults
        self._abort = abort
        self._trading_limit = RateLimit(per_minute)
        self._data_limit = RateLimit(per_minute)
        self.log: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)

    def wrap(self, handler: Handler) -> Callable[[Request], Any]:
        """Return an endpoint that runs a handler behind the gate."""

        async def endpoint(request: Request) -> Response:
            call = await _read(request)
            if call is None:
                return Response()
            entry = self._enter(call)
            answer, headers = self._admit(call)
            early = self._strike(_EARLY, call)
            if answer is None and early is not None:
                entry["fault"] = str(early.kind)
                if early.kind is FaultKind.DELIVER_LATE:
                    self._deliver_later(early, handler, call, entry)
                if early.mode in ("hang", "reset"):
                    return await self._lose(early, request, entry)
                answer = mangling.early_answer(early)
            if answer is not None:
                return self._finish(answer, headers, entry)
            answer = self._handle(handler, call)
            entry["handled"] = answer.status
            late = self._strike(_LATE, call)
            if late is not None:
                entry["fault"] = str(late.kind)
                if late.mode in ("hang", "reset"):
                    return await self._lose(late, request, entry)
                answer = mangling.mangle(late, answer, self._venue.now())
                if late.kind is FaultKind.SLOW_LORIS:
                    return self._dribble(late, answer, headers, entry)
            return self._finish(answer, headers, entry)

        return endpoint

    def _strike(self, kinds: Sequence[FaultKind], call: Call) -> Fault | None:
        return self._faults.strike(*kinds, method=call.method, path=call.path, text=call.text)

    def _enter(self, call: Call) -> dict[str, Any]:
        entry = {
            "at": self._venue.now().isoformat(),
            "method": call.method,
            "path": call.path,
            "query": dict(call.query),
            "body": call.body.decode(errors="replace"),
            "status": None,
            "handled": None,
            "fault": None,
        }
        self.log.append(entry)
        return entry

    def _admit(self, call: Call) -> tuple[Answer | None, dict[str, str]]:
        is_data = call.path.startswith(_DATA_PREFIXES)
        limit = self._data_limit if is_data else self._trading_limit
        is_allowed, headers = limit.take(self._venue.now())
        key = call.headers.get("apca-api-key-id", "")
        secret = call.headers.get("apca-api-secret-key", "")
        if not key and not secret:
            return mangling.html(403 if is_data else 401), headers
        if not self._keys.match(key, secret):
            return json_answer({"message": "unauthorized."}, 401), headers
        if not is_allowed:
            return json_answer({"message": "too many requests."}, 429), headers
        return None, headers

    def _handle(self, handler: Handler, call: Call) -> Answer:
        self._venue.settle()
        try:
            return handler(call)
        except Refusal as refusal:
            return refusal_answer(refusal)
        finally:
            self._venue.commit()

    def _finish(self, answer: Answer, headers: dict[str, str], entry: dict[str, Any]) -> Response:
        entry["status"] = answer.status
        date = {"Date": format_datetime(self._venue.now(), usegmt=True)}
        has_body = answer.status != 204  # noqa: PLR2004 - "no content"
        return Response(
            answer.body if has_body else None,
            answer.status,
            {**date, **headers, **answer.headers},
            answer.media_type if has_body else None,
        )

    def _deliver_later(
        self, fault: Fault, handler: Handler, call: Call, entry: dict[str, Any]
    ) -> None:
        def deliver() -> None:
            entry["handled"] = self._handle(handler, call).status

        self._venue.later(float(max(fault.seconds, Decimal(0))), deliver)

    def _dribble(
        self, fault: Fault, answer: Answer, headers: dict[str, str], entry: dict[str, Any]
    ) -> Response:
        entry["status"] = answer.status
        pause = float(max(fault.seconds, Decimal(1)))

        async def bytes_of_body() -> AsyncIterator[bytes]:
            for place in range(len(answer.body)):
                await self._venue.rest(pause)
                yield answer.body[place : place + 1]

        length = {"Content-Length": str(len(answer.body))}
        return StreamingResponse(
            bytes_of_body(), answer.status, {**headers, **length}, answer.media_type
        )

    async def _lose(self, fault: Fault, request: Request, entry: dict[str, Any]) -> Response:
        entry["status"] = fault.mode
        client = request.client
        if fault.mode == "reset" and client is not None:
            self._abort((client.host, client.port))
        # The body was read, so the next thing to hear from the client is that it left.
        await request.receive()
        return Response()


async def _read(request: Request) -> Call | None:
    try:
        body = await request.body()
    except ClientDisconnect:
        return None
    return Call(
        method=request.method,
        path=request.url.path,
        query=dict(request.query_params),
        parts=dict(request.path_params),
        headers=request.headers,
        body=body,
    )
