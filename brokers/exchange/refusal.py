"""How the exchange says no: the HTTP status, code and message that Alpaca gives."""

from collections.abc import Mapping
from decimal import Decimal

from domain.errors import OrderRejected
from domain.money import text

CODE_FORBIDDEN = 40310000
CODE_NOT_FOUND = 40410000
CODE_BAD_REQUEST = 40010001
CODE_UNPROCESSABLE = 42210000
MUST_BE_UNIQUE = "client_order_id must be unique"

Detail = str | list[str]


class Refusal(OrderRejected):
    """A command was refused and changed nothing."""

    def __init__(
        self, http_status: int, code: int, message: str, details: Mapping[str, Detail] | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.http_status = http_status
        self.message = message
        self.details = dict(details or {})

    @property
    def is_duplicate(self) -> bool:
        """True when the refusal proves that an order with the client id exists."""
        return self.message == MUST_BE_UNIQUE


def forbidden(message: str, details: Mapping[str, Detail] | None = None) -> Refusal:
    """Refuse for the state of the account (403)."""
    return Refusal(403, CODE_FORBIDDEN, message, details)


def malformed(message: str) -> Refusal:
    """Refuse a request that could never be right (422, 40010001)."""
    return Refusal(422, CODE_BAD_REQUEST, message)


def unprocessable(message: str) -> Refusal:
    """Refuse a request that does not fit the asset, the order or the hour (422, 42210000)."""
    return Refusal(422, CODE_UNPROCESSABLE, message)


def not_found(message: str) -> Refusal:
    """Say that there is no such thing (404)."""
    return Refusal(404, CODE_NOT_FOUND, message)


def insufficient_quantity(
    *, symbol: str, requested: Decimal, available: Decimal, existing: Decimal, related: list[str]
) -> Refusal:
    """Refuse to sell more than is free of open orders."""
    return forbidden(
        f"insufficient qty available for order (requested: {text(requested)}, "
        f"available: {text(available)})",
        {
            "symbol": symbol,
            "existing_qty": text(existing),
            "held_for_orders": text(existing - available),
            "available": text(available),
            "related_orders": related,
        },
    )
