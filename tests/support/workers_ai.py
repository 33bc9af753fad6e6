"""Workers AI on a loopback socket, in the envelope Cloudflare documents (September 2026)."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sentiment.canaries import canaries
from tests.support.scripted_server import Exchange, Step, raw_reply

ACCOUNT = "0123456789abcdef0123456789abcdef"
LLAMA = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
GEMMA = "@cf/google/gemma-4-26b-a4b-it"
DISTILBERT = "@cf/huggingface/distilbert-sst-2-int8"
USAGE = {"prompt_tokens": 60, "completion_tokens": 10, "total_tokens": 70}
_ANSWERS = {"BULLISH": 0.9, "BEARISH": -0.9, "NEUTRAL": 0.0}

Opinion = Callable[[str], Any]


def path(model: str = LLAMA) -> str:
    return f"/accounts/{ACCOUNT}/ai/run/{model}"


def knows_canaries(rest: Opinion) -> Opinion:
    """A model that is right about the canaries and holds ``rest`` of other headlines."""
    known = {canary.headline: _ANSWERS[canary.label] for canary in canaries()}
    return lambda text: known[text] if text in known else rest(text)


def asked(body: bytes) -> list[str]:
    document = json.loads(body)
    if "text" in document:
        return [document["text"]]
    listed: list[str] = json.loads(document["messages"][1]["content"])
    return listed


def envelope(result: Any) -> bytes:
    return json.dumps({"result": result, "success": True, "errors": [], "messages": []}).encode()


def failure(code: int | str, message: str) -> bytes:
    entry = {"code": code, "message": message}
    return json.dumps(
        {"result": None, "success": False, "errors": [entry], "messages": []}
    ).encode()


def llama(opinion: Opinion, usage: dict[str, Any] | None = None) -> Step:
    """Answer as Llama does in JSON mode: an object already parsed."""

    def result(texts: Sequence[str]) -> Any:
        return {"response": {"scores": [opinion(t) for t in texts]}, "usage": usage or USAGE}

    return model(result)


def gemma(opinion: Opinion) -> Step:
    """Answer as newer models do: OpenAI's shape, JSON as a string, sometimes fenced."""

    def result(texts: Sequence[str]) -> Any:
        content = "```json\n" + json.dumps({"scores": [opinion(t) for t in texts]}) + "\n```"
        message = {"role": "assistant", "content": content, "reasoning": "..."}
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}

    return model(result)


def distilbert(opinion: Opinion) -> Step:
    def result(texts: Sequence[str]) -> Any:
        positive = (1 + opinion(texts[0])) / 2
        return [
            {"label": "POSITIVE", "score": positive},
            {"label": "NEGATIVE", "score": 1 - positive},
        ]

    return model(result)


def model(result: Callable[[Sequence[str]], Any]) -> Step:
    async def step(exchange: Exchange) -> None:
        await exchange.send(raw_reply(200, envelope(result(asked(exchange.request.body)))))

    return step
