"""Switchable faults: each bad moment that a broker's network can have, on demand.

A fault is text such as ``lose_answer:order=2`` or ``rate_limit:count=3,seconds=7``: a kind
and options.  It strikes at its n-th opportunity (``nth``, also spelt ``order``, ``fill``,
``event`` or ``request``), ``count`` times, 0 meaning for ever.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum, unique

from domain.errors import ConfigError


@unique
class FaultKind(StrEnum):
    """What goes wrong."""

    # Before anything is taken.
    REFUSE_BEFORE_ACCEPT = "refuse_before_accept"
    RATE_LIMIT = "rate_limit"
    AUTH_401 = "auth_401"
    HTML_502 = "html_502"
    REDIRECT = "redirect"
    DELIVER_LATE = "deliver_late"
    # After the request took effect.
    LOSE_ANSWER = "lose_answer"
    TRUNCATED_JSON = "truncated_json"
    HTML_200 = "html_200"
    CROSSED_ANSWER = "crossed_answer"
    EXTRA_FIELDS = "extra_fields"
    UNKNOWN_STATUS = "unknown_status"
    SLOW_LORIS = "slow_loris"
    EMPTY_POSITIONS_ONCE = "empty_positions_once"
    DELAY_VISIBILITY = "delay_visibility"
    REGRESS = "regress"
    SHORT_PAGE = "short_page"
    # In the exchange.
    MIXED_207 = "mixed_207"
    STUCK_PENDING_CANCEL = "stuck_pending_cancel"
    REJECT_AFTER_ACCEPT = "reject_after_accept"
    # On the trade stream.
    DROP_STREAM = "drop_stream"
    LOSE_EVENT = "lose_event"
    DUPLICATE_EVENT = "duplicate_event"
    REORDER = "reorder"
    UNKNOWN_EVENT = "unknown_event"
    GARBAGE_FRAME = "garbage_frame"
    MUTE_STREAM = "mute_stream"
    REFUSE_STREAM = "refuse_stream"


_NTH_NAMES = ("nth", "order", "fill", "event", "request")
_OPTIONS = ("nth", "count", "mode", "seconds", "method", "path", "match")
_ORDERS = "/v2/orders"
_DEFAULT_METHOD = {
    FaultKind.REFUSE_BEFORE_ACCEPT: "POST",
    FaultKind.LOSE_ANSWER: "POST",
    FaultKind.CROSSED_ANSWER: "POST",
    FaultKind.EMPTY_POSITIONS_ONCE: "GET",
    FaultKind.DELAY_VISIBILITY: "GET",
    FaultKind.REGRESS: "GET",
    FaultKind.SHORT_PAGE: "GET",
    FaultKind.DELIVER_LATE: "POST",
}
_DEFAULT_PATH = {
    FaultKind.REFUSE_BEFORE_ACCEPT: _ORDERS,
    FaultKind.LOSE_ANSWER: _ORDERS,
    FaultKind.CROSSED_ANSWER: _ORDERS,
    FaultKind.EXTRA_FIELDS: "/v2",
    FaultKind.UNKNOWN_STATUS: _ORDERS,
    FaultKind.EMPTY_POSITIONS_ONCE: "/v2/positions",
    FaultKind.DELAY_VISIBILITY: _ORDERS,
    FaultKind.REGRESS: _ORDERS,
    FaultKind.SHORT_PAGE: _ORDERS,
    FaultKind.DELIVER_LATE: _ORDERS,
}
_FOR_EVER = (FaultKind.DELAY_VISIBILITY,)
_MODES = {
    FaultKind.DELIVER_LATE: ("reset", "hang"),
    FaultKind.LOSE_ANSWER: ("reset", "hang", "504", "500", "502", "503"),
    FaultKind.REFUSE_BEFORE_ACCEPT: ("503", "reset", "hang", "500", "504"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; ``method`` and ``path`` (a prefix) choose the requests it may strike.

    ``match`` is text that the request, or the order of an event, must contain: a symbol or a
    client_order_id picks the same order in every run, whoever comes first.

    ``mode`` says how (``reset``, ``hang`` or an HTTP status), ``seconds`` how long, and a
    negative ``seconds`` that no time is named at all.
    """

    kind: FaultKind
    nth: int = 1
    count: int = 1
    mode: str = ""
    seconds: Decimal = Decimal(-1)
    method: str = ""
    path: str = ""
    match: str = ""


def parse_fault(text: str) -> Fault:
    """Read a fault from text such as ``lose_answer:order=2,mode=hang``.

    Raises:
        ConfigError: the kind, an option or a value is unknown.
    """
    name, _, rest = text.strip().partition(":")
    try:
        kind = FaultKind(name)
    except ValueError:
        known = ", ".join(FaultKind)
        raise ConfigError(f"fault {name!r} is unknown; use one of {known}") from None
    options = dict(_option(part, text) for part in rest.split(",") if part.strip())
    modes = _MODES.get(kind, ("",))
    mode = options.get("mode", modes[0])
    if mode not in modes:
        raise ConfigError(f"fault {text!r}: mode {mode!r} is unknown; use one of {modes}")
    count = options.get("count", "0" if kind in _FOR_EVER else "1")
    try:
        return Fault(
            kind=kind,
            nth=max(1, int(options.get("nth", "1"))),
            count=int(count),
            mode=mode,
            seconds=Decimal(options.get("seconds", "-1")),
            method=options.get("method", _DEFAULT_METHOD.get(kind, "")),
            path=options.get("path", _DEFAULT_PATH.get(kind, "")),
            match=options.get("match", ""),
        )
    except (ValueError, InvalidOperation):
        raise ConfigError(f"fault {text!r} has a value that is not a number") from None


def _option(part: str, text: str) -> tuple[str, str]:
    name, sign, value = part.strip().partition("=")
    name = "nth" if name in _NTH_NAMES else name
    if not sign or name not in _OPTIONS:
        raise ConfigError(
            f"fault {text!r}: option {part!r} is unknown; use one of {', '.join(_OPTIONS)}"
        )
    return name, value


class FaultBox:
    """The armed faults, and how often each had its opportunity."""

    def __init__(self) -> None:
        self._armed: list[tuple[Fault, list[int]]] = []

    def arm(self, fault: Fault) -> None:
        """Add a fault; its count of opportunities starts now."""
        self._armed.append((fault, [0]))

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()

    @property
    def armed(self) -> tuple[Fault, ...]:
        """The armed faults."""
        return tuple(fault for fault, _ in self._armed)

    def strike(
        self, *kinds: FaultKind, method: str = "", path: str = "", text: str = ""
    ) -> Fault | None:
        """Count an opportunity for faults of these kinds; return the first that strikes."""
        struck: Fault | None = None
        for fault, seen in self._armed:
            if fault.kind not in kinds or not _fits(fault, method, path, text):
                continue
            seen[0] += 1
            is_due = seen[0] >= fault.nth
            is_left = fault.count == 0 or seen[0] < fault.nth + fault.count
            if is_due and is_left and struck is None:
                struck = fault
        return struck


def _fits(fault: Fault, method: str, path: str, text: str) -> bool:
    is_method = not fault.method or fault.method == method
    return is_method and path.startswith(fault.path) and fault.match in text
