"""Alpaca's JSON shapes of the account, positions, clock, calendar and assets."""

import datetime as dt
from decimal import Decimal

from brokers.exchange.engine import Exchange
from brokers.exchange.margin import may_short
from brokers.exchange.orders import derive_id
from brokers.exchange.prices import Listing
from brokers.exchange.views import clock_view, last_close
from brokers.exchange.windows import new_york
from brokers.paper_server.wire import Json, asset_id, number, stamp
from domain.ids import Symbol
from domain.market import Session
from domain.money import ZERO

_MONEY = Decimal("0.0001")


def _money(value: Decimal) -> str:
    return str(number(value.quantize(_MONEY)))


def account_json(exchange: Exchange) -> Json:
    """Write the account."""
    figures = exchange.balances()
    config = exchange.desk.config
    book = exchange.book
    equity = _money(figures.equity)
    return {
        "id": derive_id("account", book.account_number),
        "account_number": book.account_number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": _money(figures.cash),
        "equity": equity,
        "portfolio_value": equity,
        "last_equity": _money(figures.last_equity),
        "long_market_value": _money(figures.long_value),
        "short_market_value": _money(figures.short_value),
        "buying_power": _money(figures.buying_power),
        "regt_buying_power": _money(figures.regt_buying_power),
        "effective_buying_power": _money(figures.buying_power),
        "non_marginable_buying_power": _money(figures.cash_buying_power),
        "multiplier": str(figures.multiplier),
        "initial_margin": _money(figures.initial_margin),
        "maintenance_margin": _money(figures.maintenance_margin),
        "last_maintenance_margin": _money(figures.last_maintenance),
        "sma": "0",
        "shorting_enabled": may_short(exchange.desk, figures),
        "trading_blocked": config.is_blocked,
        "transfers_blocked": False,
        "account_blocked": config.is_blocked,
        "trade_suspended_by_user": config.is_suspended,
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": "0",
        "balance_asof": last_close(exchange).isoformat(),
        "created_at": stamp(book.opened_at),
        "options_approved_level": 0,
        "options_trading_level": 0,
    }


def configuration_json(exchange: Exchange) -> Json:
    """Write the account's configuration."""
    config = exchange.desk.config
    return {
        "fractional_trading": config.is_fractional_allowed,
        "max_margin_multiplier": str(exchange.desk.settings.multiplier),
        "no_shorting": config.is_shorting_forbidden,
        "suspend_trade": config.is_suspended,
        "trade_confirm_email": "none",
        "ptp_no_exception_entry": False,
        "disable_overnight_trading": True,
        "max_options_trading_level": None,
    }


def position_json(exchange: Exchange, symbol: Symbol) -> Json:
    """Write one position; what depends on a price is null where none is known."""
    holding = exchange.book.holding(symbol)
    quantity, cost = holding.quantity, holding.cost
    now = exchange.last_time
    price = exchange.desk.last_price(symbol, now)
    previous = _previous_price(exchange, symbol)
    value = quantity * price if price is not None else None
    gain = value - cost if value is not None else None
    intraday = quantity * (price - previous) if price is not None and previous else None
    change = price / previous - 1 if price is not None and previous else None
    listing = exchange.feed.listing(symbol)
    sign = 1 if quantity > 0 else -1
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol,
        "exchange": listing.venue if listing is not None else "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": number(quantity),
        "qty_available": number(quantity - sign * exchange.held_for_orders(symbol)),
        "avg_entry_price": number(cost / quantity),
        "side": "long" if quantity > 0 else "short",
        "market_value": number(value),
        "cost_basis": number(cost),
        "unrealized_pl": number(gain),
        "unrealized_plpc": number(gain / abs(cost)) if gain is not None and cost else None,
        "unrealized_intraday_pl": number(intraday),
        "unrealized_intraday_plpc": number(change * sign) if change is not None else None,
        "current_price": number(price),
        "lastday_price": number(previous),
        "change_today": number(change),
    }


def clock_json(exchange: Exchange) -> Json:
    """Write the clock, in New York time."""
    clock = clock_view(exchange)
    return {
        "timestamp": new_york(clock.now).isoformat(timespec="microseconds"),
        "is_open": clock.is_open,
        "next_open": new_york(clock.next_open).isoformat(),
        "next_close": new_york(clock.next_close).isoformat(),
    }


def session_json(session: Session) -> Json:
    """Write one day of the calendar, in New York time."""
    return {
        "date": session.date.isoformat(),
        "open": f"{new_york(session.open):%H:%M}",
        "close": f"{new_york(session.close):%H:%M}",
        "session_open": "0400",
        "session_close": "1700" if session.is_half_day else "2000",
        "settlement_date": (session.date + dt.timedelta(days=1)).isoformat(),
    }


def asset_json(listing: Listing) -> Json:
    """Write one asset, with the borrow flag in its old and its new form."""
    borrow = "easy_to_borrow" if listing.is_shortable else "hard_to_borrow"
    return {
        "id": asset_id(listing.symbol),
        "class": "us_equity",
        "exchange": listing.venue,
        "symbol": listing.symbol,
        "name": listing.name,
        "status": "active",
        "tradable": listing.is_tradable,
        "marginable": listing.is_tradable,
        "shortable": listing.is_shortable,
        "easy_to_borrow": listing.is_shortable,
        "borrow_status": borrow,
        "fractionable": listing.is_fractionable,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "attributes": [],
    }


def history_json(exchange: Exchange) -> Json:
    """Write the equity at each close, and now."""
    days = exchange.book.days
    points = [(day.at, day.equity) for day in days]
    points.append((exchange.last_time, exchange.balances().equity))
    base = exchange.book.starting_cash
    before = [base, *(equity for _, equity in points)]
    gains = [equity - previous for (_, equity), previous in zip(points, before, strict=False)]
    return {
        "timestamp": [int(at.timestamp()) for at, _ in points],
        "equity": [float(equity) for _, equity in points],
        "profit_loss": [float(gain) for gain in gains],
        "profit_loss_pct": [
            float(gain / previous) if previous else 0.0
            for gain, previous in zip(gains, before, strict=False)
        ],
        "base_value": float(base),
        "base_value_asof": new_york(exchange.book.opened_at or exchange.last_time)
        .date()
        .isoformat(),
        "timeframe": "1D",
    }


def _previous_price(exchange: Exchange, symbol: Symbol) -> Decimal | None:
    last = exchange.book.closed_before(new_york(exchange.last_time).date())
    if last is None:
        return None
    session = exchange.calendar.session_on(last.date)
    price = exchange.desk.last_price(symbol, session.close) if session is not None else None
    return price if price is not None and price > ZERO else None
