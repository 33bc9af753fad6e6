"""Words of the exchange: the values that Alpaca's order fields can take."""

from enum import StrEnum, unique


@unique
class Status(StrEnum):
    """Status of an order as the wire names it."""

    ACCEPTED = "accepted"
    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    HELD = "held"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"

    @property
    def is_terminal(self) -> bool:
        """True when nothing but a bust can change the order."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REJECTED, Status.REPLACED}
)


@unique
class Kind(StrEnum):
    """Order type."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"

    @property
    def has_limit(self) -> bool:
        """True when a limit price is required."""
        return self in (Kind.LIMIT, Kind.STOP_LIMIT)

    @property
    def has_stop(self) -> bool:
        """True when a stop price is required."""
        return self in (Kind.STOP, Kind.STOP_LIMIT)

    @property
    def waits_for_trigger(self) -> bool:
        """True when the order sleeps until the last price reaches its stop."""
        return self in (Kind.STOP, Kind.STOP_LIMIT, Kind.TRAILING_STOP)


@unique
class Tif(StrEnum):
    """Time in force."""

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"
    FOK = "fok"


@unique
class OrderClass(StrEnum):
    """How an order is tied to others."""

    SIMPLE = ""
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


@unique
class Role(StrEnum):
    """Part of an order in its group."""

    SINGLE = ""
    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


@unique
class Wake(StrEnum):
    """What the exchange does with an order when its time comes."""

    ACTIVATE = "activate"  # queued for the open
    ACKNOWLEDGE = "acknowledge"  # pending_new becomes new
    TRY = "try"  # first attempt to fill
    CLOSE = "close"  # the closing price
    REPLACE = "replace"  # the replacement takes over
    REJECT = "reject"  # the market refuses what was taken
