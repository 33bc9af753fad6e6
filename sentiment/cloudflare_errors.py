"""What a refusal of Workers AI means, and whether asking again can help.

The same status stands for different things (429 for four of them), so a refusal is told
by code and status together.  Codes and forms: Cloudflare's table of errors and limits of
September 2026, and replies that others captured.
"""

import re
from collections.abc import Mapping
from enum import StrEnum, unique

from domain.errors import DataError, ProviderUnavailable
from transport import strict_json

_QUOTA_CODES = frozenset({3036, 4006})
_OUT_OF_CAPACITY = 3040
_GENERATION_TOO_LONG = 3046
_REQUEST_TOO_LARGE = 3006
_AUTHENTICATION = 10000
_FIRST_SERVER_STATUS = 500
_QUOTA_WORDS = "daily free allocation"
_JSON_MODE_WORDS = "json mode couldn't be met"
_MODEL_CODES = frozenset({3023, 3039, 3041, 3042, 5007, 5016, 5018, 5028, 5035, 7003})
_LEADING_NUMBER = re.compile(r"\s*(\d{4,5})\b")
_LONGEST_MESSAGE = 200


@unique
class Trouble(StrEnum):
    """Kinds of refusal, by what can be done about them."""

    AUTH = "the token was refused"
    MODEL = "the model is gone, or not open to this account"
    QUOTA = "the day's allocation is used up"
    BUSY = "the model is out of capacity"
    RATE = "too many requests"
    TIMEOUT = "the service timed out"
    TOO_LONG = "the answer took the model too long"
    TOO_LARGE = "the request is too large"
    REQUEST = "the request was not understood"
    NOT_JSON = "the model could not answer in JSON"
    UNREADABLE = "the answer cannot be read"
    SERVER = "the service failed"
    CANARY = "the model gets known headlines wrong"


# Asking once more, a little later, may work.
_PASSING = frozenset(
    {
        Trouble.BUSY,
        Trouble.RATE,
        Trouble.TIMEOUT,
        Trouble.NOT_JSON,
        Trouble.UNREADABLE,
        Trouble.SERVER,
    }
)
# These are about this one request, or a plan we know of: they say nothing about the
# health of the service, so its breaker stays closed.
_NOT_AN_OUTAGE = frozenset(
    {Trouble.QUOTA, Trouble.TOO_LARGE, Trouble.REQUEST, Trouble.NOT_JSON, Trouble.UNREADABLE}
)
# Turned away at the door.
_FREE = frozenset(
    {
        Trouble.AUTH,
        Trouble.MODEL,
        Trouble.QUOTA,
        Trouble.BUSY,
        Trouble.RATE,
        Trouble.TOO_LARGE,
        Trouble.REQUEST,
    }
)


class Refusal(ProviderUnavailable):
    """Workers AI gave no usable answer; ``retry_after`` is the header as it came."""

    def __init__(
        self, trouble: Trouble, detail: str = "", *, retry_after: str | None = None
    ) -> None:
        super().__init__(f"Workers AI: {trouble.value}{f' ({detail})' if detail else ''}")
        self.trouble = trouble
        self.retry_after = retry_after

    @property
    def was_free(self) -> bool:
        """True when the model surely did no work, so that nothing was billed."""
        return self.trouble in _FREE

    @property
    def may_pass(self) -> bool:
        """True when the same question may be asked once more."""
        return self.trouble in _PASSING

    @property
    def is_outage(self) -> bool:
        """True when it speaks against the service."""
        return self.trouble not in _NOT_AN_OUTAGE


def diagnose(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Name the trouble behind a reply that is not a plain success."""
    code, message = _code_and_message(body)
    trouble = _trouble(status, code, message.lower())
    parts = [f"HTTP {status}"]
    parts += [f"code {code}"] if code is not None else []
    parts += [message[:_LONGEST_MESSAGE]] if message else []
    return Refusal(trouble, ", ".join(parts), retry_after=headers.get("retry-after"))


def _trouble(status: int, code: int | None, message: str) -> Trouble:
    by_text = _by_text(code, message)
    if by_text is not None:
        return by_text
    if status in (401, 403) and code not in _MODEL_CODES:
        return Trouble.AUTH
    if status in (404, 410) or code in _MODEL_CODES:
        return Trouble.MODEL
    by_status = {
        429: Trouble.BUSY if code == _OUT_OF_CAPACITY else Trouble.RATE,
        408: Trouble.TOO_LONG if code == _GENERATION_TOO_LONG else Trouble.TIMEOUT,
        413: Trouble.TOO_LARGE,
    }
    if status in by_status:
        return by_status[status]
    return Trouble.SERVER if status >= _FIRST_SERVER_STATUS else Trouble.REQUEST


def _by_text(code: int | None, message: str) -> Trouble | None:
    """Read what is certain whatever the status says."""
    if code in _QUOTA_CODES or _QUOTA_WORDS in message:
        return Trouble.QUOTA
    if _JSON_MODE_WORDS in message.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"):
        return Trouble.NOT_JSON
    if code == _AUTHENTICATION:
        return Trouble.AUTH
    return Trouble.TOO_LARGE if code == _REQUEST_TOO_LARGE else None


def _code_and_message(body: bytes) -> tuple[int | None, str]:
    try:
        document = strict_json.parse(body, what="Workers AI")
    except DataError:
        return None, ""
    if not isinstance(document, dict):
        return None, ""
    listed = document.get("errors") or document.get("error")
    first = listed[0] if isinstance(listed, list) and listed else listed
    entry = first if isinstance(first, dict) else document
    code = entry.get("code", entry.get("internalCode"))
    text = entry.get("message")
    message = text if isinstance(text, str) else ""
    return _number(code, message), " ".join(message.split())


def _number(code: object, message: str) -> int | None:
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    if isinstance(code, str) and code.isascii() and code.isdigit():
        return int(code[:9])
    found = _LEADING_NUMBER.match(message)
    return int(found[1]) if found else None
