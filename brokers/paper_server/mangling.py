"""What faults do to an answer."""

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from brokers.paper_server.answers import Answer, json_answer
from brokers.paper_server.faults import Fault, FaultKind

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_ORDER_KEYS = {"client_order_id", "status"}
_CROSSED_ID = "00000000-0000-4000-8000-000000000000"
_ORDER_CHANGES: dict[FaultKind, dict[str, Any]] = {
    FaultKind.UNKNOWN_STATUS: {"status": "pondering"},
    FaultKind.REGRESS: {"status": "new", "filled_qty": "0", "filled_avg_price": None},
    FaultKind.CROSSED_ANSWER: {
        "id": _CROSSED_ID,
        "client_order_id": "of-another-order",
        "symbol": "ZZZ",
    },
}


def html(status: int) -> Answer:
    """Answer as a proxy does."""
    return Answer(status=status, body=_HTML, media_type="text/html")


def early_answer(fault: Fault) -> Answer:
    """Answer instead of handling the request."""
    match fault.kind:
        case FaultKind.RATE_LIMIT:
            headers = {"Retry-After": f"{fault.seconds:f}"} if fault.seconds >= 0 else {}
            body = json.dumps({"message": "too many requests."}).encode()
            return Answer(status=429, body=body, headers=headers)
        case FaultKind.AUTH_401:
            return json_answer({"message": "unauthorized."}, 401)
        case FaultKind.REDIRECT:
            return Answer(status=301, headers={"Location": "http://127.0.0.1:9/v2/orders"})
        case FaultKind.HTML_502:
            return html(502)
        case _:
            return html(int(fault.mode))


def mangle(fault: Fault, answer: Answer, now: dt.datetime) -> Answer:
    """Spoil an answer after the request took effect."""
    match fault.kind:
        case FaultKind.LOSE_ANSWER:
            return html(int(fault.mode))
        case FaultKind.TRUNCATED_JSON:
            return dataclasses.replace(answer, body=answer.body[: len(answer.body) // 2])
        case FaultKind.HTML_200:
            return html(200)
        case FaultKind.EMPTY_POSITIONS_ONCE:
            return json_answer([])
        case FaultKind.DELAY_VISIBILITY:
            return _hide_young(fault, answer, now)
        case FaultKind.SHORT_PAGE:
            rows = json.loads(answer.body)
            return json_answer(rows[:1] if isinstance(rows, list) else rows, answer.status)
        case FaultKind.EXTRA_FIELDS:
            return _each_object(answer, lambda row: row | {"unheard_of": {"nested": [1, None]}})
        case _ if fault.kind in _ORDER_CHANGES:
            return _each_order(answer, _ORDER_CHANGES[fault.kind])
        case _:
            return answer


def _each_object(answer: Answer, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Answer:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return answer
    if isinstance(body, list):
        changed: Any = [change(row) if isinstance(row, dict) else row for row in body]
    else:
        changed = change(body)
    return dataclasses.replace(json_answer(changed, answer.status), headers=answer.headers)


def _each_order(answer: Answer, changes: dict[str, Any]) -> Answer:
    return _each_object(answer, lambda row: row | changes if row.keys() >= _ORDER_KEYS else row)


def _hide_young(fault: Fault, answer: Answer, now: dt.datetime) -> Answer:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return answer

    def is_young(row: Any) -> bool:
        created = row.get("created_at") if isinstance(row, dict) else None
        if created is None:
            return False
        age = now - dt.datetime.fromisoformat(created)
        return age.total_seconds() < float(fault.seconds)

    if isinstance(body, list):
        return json_answer([row for row in body if not is_young(row)], answer.status)
    if is_young(body):
        return json_answer({"code": 40410000, "message": "order not found"}, 404)
    return answer
