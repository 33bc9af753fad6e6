"""Settings of the simulated exchange."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """How the account starts and how the market answers.

    ``partial_fraction`` is the share of orders that fill in two parts, as Alpaca's paper
    service does; ``max_participation`` caps each fill at that share of the volume the feed
    offers (None: displayed size is ignored, as on Alpaca's paper service).
    ``is_id_unique_for_ever`` False lets a client_order_id be used again once its order ended:
    the other reading of Alpaca's rule.
    """

    account_number: str = "PA3EMBEDDED1"
    starting_cash: Decimal = Decimal(100_000)
    seed: int = 7
    multiplier: int = 2
    is_shorting_enabled: bool = True
    is_id_unique_for_ever: bool = True
    partial_fraction: float = 0.10
    max_participation: Decimal | None = None
    acknowledge_delay: dt.timedelta = dt.timedelta(milliseconds=20)
    fill_delay: dt.timedelta = dt.timedelta(milliseconds=30)
    partial_delay: dt.timedelta = dt.timedelta(seconds=2)
    cancel_delay: dt.timedelta = dt.timedelta(milliseconds=40)
    replace_delay: dt.timedelta = dt.timedelta(milliseconds=40)
    expiry_delay: dt.timedelta = dt.timedelta(seconds=1)
