"""Handlers of the trading API: account, activities, clock, calendar, assets."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from brokers.exchange.refusal import malformed, not_found
from brokers.exchange.windows import new_york
from brokers.paper_server import account_wire, requests, wire
from brokers.paper_server.answers import Answer, Call, json_answer
from brokers.paper_server.trading import Routes
from brokers.paper_server.venue import Venue
from domain.ids import Symbol

_PAGE_SIZE = 100
# More than a page can be asked for, and is not given.
_LARGEST_PAGE_SIZE = 10_000
_CALENDAR_DAYS = 366
_TRADE = "FILL"


class AccountApi:
    """The account and the market around it, over the venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def routes(self) -> Routes:
        """Return method, path and handler of each endpoint."""
        yield "GET", "/v2/account", self.account
        yield "GET", "/v2/account/configurations", self.configuration
        yield "PATCH", "/v2/account/configurations", self.configure
        yield "GET", "/v2/account/activities", self.activities
        yield "GET", "/v2/account/activities/{kind}", self.activities
        yield "GET", "/v2/account/portfolio/history", self.history
        yield "GET", "/v2/clock", self.clock
        yield "GET", "/v2/calendar", self.calendar
        yield "GET", "/v2/assets", self.assets
        yield "GET", "/v2/assets/{symbol}", self.asset

    def account(self, call: Call) -> Answer:
        """Read the account."""
        del call
        return json_answer(account_wire.account_json(self._venue.exchange))

    def configuration(self, call: Call) -> Answer:
        """Read the configuration."""
        del call
        return json_answer(account_wire.configuration_json(self._venue.exchange))

    def configure(self, call: Call) -> Answer:
        """Change the configuration; fields that are not simulated are accepted."""
        fields = requests.read_json(call.body)
        names = {
            "suspend_trade": "is_suspended",
            "no_shorting": "is_shorting_forbidden",
            "fractional_trading": "is_fractional_allowed",
        }
        changes = {
            ours: requests.read_bool(fields, theirs)
            for theirs, ours in names.items()
            if fields.get(theirs) is not None
        }
        self._venue.exchange.configure(self._venue.now(), **changes)
        return self.configuration(call)

    def activities(self, call: Call) -> Answer:
        """List activities; a page ends with the id that the next one starts after."""
        rows = [row for row in self._rows() if _matches(row, call)]
        is_ascending = call.query.get("direction") == "asc"
        rows.sort(key=lambda row: str(row["id"]), reverse=not is_ascending)
        token = call.query.get("page_token")
        if token:
            ids = [row["id"] for row in rows]
            rows = rows[ids.index(token) + 1 :] if token in ids else []
        size = requests.read_count(
            call.query, "page_size", default=_PAGE_SIZE, most=_LARGEST_PAGE_SIZE
        )
        return json_answer(rows[: min(size, _PAGE_SIZE)])

    def history(self, call: Call) -> Answer:
        """Read the equity at each close."""
        del call
        return json_answer(account_wire.history_json(self._venue.exchange))

    def clock(self, call: Call) -> Answer:
        """Read the clock."""
        del call
        return json_answer(account_wire.clock_json(self._venue.exchange))

    def calendar(self, call: Call) -> Answer:
        """List sessions."""
        today = new_york(self._venue.now()).date()
        start = _read_date(call.query, "start") or today
        end = _read_date(call.query, "end") or start + dt.timedelta(days=_CALENDAR_DAYS)
        sessions = self._venue.exchange.calendar.sessions(start, end)
        return json_answer([account_wire.session_json(session) for session in sessions])

    def assets(self, call: Call) -> Answer:
        """List assets."""
        wants_inactive = call.query.get("status") == "inactive"
        is_equity = call.query.get("asset_class", "us_equity") == "us_equity"
        listings = self._venue.exchange.feed.listings() if is_equity else []
        rows = [account_wire.asset_json(listing) for listing in listings]
        venue = call.query.get("exchange")
        rows = [row for row in rows if venue in (None, row["exchange"])]
        return json_answer([] if wants_inactive else rows)

    def asset(self, call: Call) -> Answer:
        """Read one asset by symbol or id."""
        wanted = call.parts["symbol"]
        feed = self._venue.exchange.feed
        listing = feed.listing(Symbol(wanted))
        if listing is None:
            by_id = {wire.asset_id(one.symbol): one for one in feed.listings()}
            listing = by_id.get(wanted)
        if listing is None:
            raise not_found(f"asset not found for {wanted}")
        return json_answer(account_wire.asset_json(listing))

    def _rows(self) -> list[dict[str, Any]]:
        book = self._venue.exchange.book
        rows = [wire.fill_json(one, book.orders[one.order_id]) for one in book.executions]
        return rows + [wire.activity_json(event) for event in book.activities]


def _matches(row: Mapping[str, Any], call: Call) -> bool:
    kind = row["activity_type"]
    wanted = call.parts.get("kind") or call.query.get("activity_types")
    if wanted and kind not in wanted.split(","):
        return False
    category = call.query.get("category")
    if category and (category == "trade_activity") != (kind == _TRADE):
        return False
    order_id = call.query.get("order_id")
    if order_id and row.get("order_id") != order_id:
        return False
    return _is_in_time(row, call.query)


def _is_in_time(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    at = dt.datetime.fromisoformat(row.get("transaction_time") or row["created_at"])
    after = requests.read_moment(query, "after")
    until = requests.read_moment(query, "until")
    date = _read_date(query, "date")
    if date is not None and new_york(at).date() != date:
        return False
    return (after is None or at > after) and (until is None or at <= until)


def _read_date(query: Mapping[str, str], name: str) -> dt.date | None:
    value = query.get(name)
    if not value:
        return None
    try:
        return dt.date.fromisoformat(value[:10])
    except ValueError as exc:
        raise malformed(f"invalid {name}: {value}") from exc
