"""US regulatory fees on trades, by trade date.

An estimate: what the broker posts is the truth, and reports say where the two differ.  Each
kind of fee is summed over the account's day and rounded up to the cent once.  Rates change
by order of the regulators; a date that the table does not cover is refused, not guessed.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from domain.errors import DataError
from domain.money import CENT, ZERO
from domain.orders import Side

MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRates:
    """Rates from one trade date to another, both included.

    ``sec_per_million`` is USD per million USD sold (Section 31), ``taf_per_share`` USD per
    share sold with a cap per trade (FINRA TAF), ``cat_per_share`` USD per share on both
    sides (CAT).
    """

    first: dt.date
    last: dt.date
    sec_per_million: Decimal
    taf_per_share: Decimal
    taf_cap: Decimal
    cat_per_share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeTrade:
    """What one execution pays for; executions with the same ``trade_id`` share one TAF cap."""

    side: Side
    quantity: Decimal
    price: Decimal
    trade_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFees:
    """Fees of one account and day: unrounded, and as charged."""

    sec_raw: Decimal
    taf_raw: Decimal
    cat_raw: Decimal
    sec: Decimal
    taf: Decimal
    cat: Decimal

    @property
    def total(self) -> Decimal:
        """All kinds as charged, USD."""
        return self.sec + self.taf + self.cat


def _rates(first: str, last: str, sec: str, taf: str, cap: str, cat: str) -> FeeRates:
    return FeeRates(
        first=dt.date.fromisoformat(first),
        last=dt.date.fromisoformat(last),
        sec_per_million=Decimal(sec),
        taf_per_share=Decimal(taf),
        taf_cap=Decimal(cap),
        cat_per_share=Decimal(cat),
    )


# Only periods in which all three rates are known: before July 2025 and from December 2025
# to April 2026 the CAT rate is not.
RATES: Sequence[FeeRates] = (
    _rates("2025-07-01", "2025-11-30", "0", "0.000166", "8.30", "0.0000265"),
    _rates("2026-05-01", "2026-09-30", "20.60", "0.000195", "9.79", "0.000003"),
    _rates("2026-10-01", "2026-12-31", "20.60", "0", "0", "0.000003"),
)


def rates_on(day: dt.date) -> FeeRates:
    """Return the rates of a trade date.

    Raises:
        DataError: the table does not cover it.
    """
    for rates in RATES:
        if rates.first <= day <= rates.last:
            return rates
    raise DataError(
        f"no regulatory fee rate is known for {day.isoformat()}; a newer openbell may know it"
    )


def day_fees(day: dt.date, trades: Iterable[FeeTrade]) -> DayFees:
    """Estimate the fees of a day.

    Raises:
        DataError: no rate is known for the day, or a quantity or price is not above 0.
    """
    rates = rates_on(day)
    sold = ZERO
    sold_shares: dict[str, Decimal] = {}
    shares = ZERO
    for trade in trades:
        if not (trade.quantity > 0 and trade.price > 0):
            raise DataError(f"trade {trade.trade_id}: quantity and price must be above 0")
        shares += trade.quantity
        if trade.side is Side.SELL:
            sold += trade.quantity * trade.price
            so_far = sold_shares.get(trade.trade_id, ZERO)
            sold_shares[trade.trade_id] = so_far + trade.quantity
    sec = sold * rates.sec_per_million / MILLION
    taf = sum((min(n * rates.taf_per_share, rates.taf_cap) for n in sold_shares.values()), ZERO)
    cat = shares * rates.cat_per_share
    return DayFees(sec_raw=sec, taf_raw=taf, cat_raw=cat, sec=_up(sec), taf=_up(taf), cat=_up(cat))


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_CEILING)
