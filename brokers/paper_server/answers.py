"""Requests and answers as the handlers see them: plain values, no framework."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brokers.exchange.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request, read to its end."""

    method: str
    path: str
    query: Mapping[str, str]
    parts: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Everything that names the order in question."""
        return f"{self.path} {' '.join(self.query.values())} {self.body.decode(errors='replace')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]


def json_answer(value: Any, status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status=status, body=json.dumps(value, separators=(",", ":")).encode())


def refusal_answer(refusal: Refusal) -> Answer:
    """Answer with an error in Alpaca's shape."""
    return json_answer(refusal_body(refusal), refusal.http_status)


def refusal_body(refusal: Refusal) -> dict[str, Any]:
    """Write the body of an error."""
    return {"code": refusal.code, "message": refusal.message, **refusal.details}
