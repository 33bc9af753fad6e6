"""Alpaca's lists, read to their end.

A short page does not prove the end (a server may give less than was asked), so paging
goes on until a page is empty, or the server shows that it ignores the cursor.  A list
that cannot be completed is an error: an order missing from half a list is not absent.
"""

import datetime as dt

from brokers import alpaca_fields as fields
from brokers import alpaca_parsing as parsing
from brokers.alpaca_wire import AlpacaWire, Params
from domain.account import Activity
from domain.errors import BrokerUnavailable, DataError
from domain.ids import BrokerOrderId
from domain.orders import BrokerOrder

_ORDER_PAGE = 500
_ACTIVITY_PAGE = 100
_MOST_PAGES = 1000
# The filter is exclusive and may count in microseconds while the server has nanoseconds.
_OVERLAP = dt.timedelta(milliseconds=1)


async def list_orders(
    wire: AlpacaWire, *, status: str, since: dt.datetime | None = None
) -> tuple[BrokerOrder, ...]:
    """Read orders, oldest first, to the end of the list.

    Raises:
        BrokerUnavailable: the list could not be read completely.
    """
    found: dict[BrokerOrderId, BrokerOrder] = {}
    base: Params = (("status", status), ("limit", str(_ORDER_PAGE)), ("direction", "asc"))
    start: Params = () if since is None else (("after", _stamp(since - _OVERLAP)),)
    cursor, is_by_id = start, True
    last: BrokerOrder | None = None
    for _ in range(_MOST_PAGES):
        page = await _order_page(wire, (*base, *cursor))
        if page is None:
            if last is None or not is_by_id:
                break
            # The order that the cursor names is not in the list any more: filled since, perhaps.
            is_by_id, cursor = False, _after(last)
            continue
        fresh = [order for order in page if order.broker_order_id not in found]
        found.update((order.broker_order_id, order) for order in page)
        if not page or (not fresh and not is_by_id and len(page) < _ORDER_PAGE):
            return tuple(found.values())
        if not fresh and not is_by_id:
            break
        # A page without news means that the cursor by id is not understood: go by time.
        is_by_id = is_by_id and bool(fresh)
        last = page[-1]
        cursor = (("after_order_id", last.broker_order_id),) if is_by_id else _after(last)
    raise BrokerUnavailable(f"orders ({status}): the list cannot be read to its end")


async def activities_since(wire: AlpacaWire, since: dt.datetime) -> tuple[Activity, ...]:
    """Read the activity log from a moment on, oldest first, to its end.

    A row that the broker has canceled moved nothing, and is left out.

    Raises:
        BrokerUnavailable: the log could not be read completely.
    """
    found: dict[str, Activity] = {}
    canceled: set[str] = set()
    base: Params = (
        ("after", _stamp(since)),
        ("direction", "asc"),
        ("page_size", str(_ACTIVITY_PAGE)),
    )
    token: Params = ()
    for _ in range(_MOST_PAGES):
        raw = await wire.read("/v2/account/activities", (*base, *token), what="activities")
        try:
            rows = fields.rows(raw, what="activities")
            page = [parsing.activity(row) for row in rows]
            canceled.update(fields.word(row, "id") for row in rows if parsing.is_canceled(row))
        except DataError as exc:
            raise BrokerUnavailable(f"activities: an answer is not usable: {exc}") from exc
        has_news = any(activity.activity_id not in found for activity in page)
        found.update((activity.activity_id, activity) for activity in page)
        if not page or (not has_news and len(page) < _ACTIVITY_PAGE):
            return tuple(one for one in found.values() if one.activity_id not in canceled)
        if not has_news:
            break
        token = (("page_token", page[-1].activity_id),)
    raise BrokerUnavailable("activities: the log cannot be read to its end")


async def _order_page(wire: AlpacaWire, params: Params) -> list[BrokerOrder] | None:
    raw = await wire.read("/v2/orders", params, what="orders")
    if raw is None:
        return None
    try:
        return [parsing.order(row) for row in fields.rows(raw, what="orders")]
    except DataError as exc:
        raise BrokerUnavailable(f"orders: an answer is not usable: {exc}") from exc


def _after(order: BrokerOrder) -> Params:
    return (("after", _stamp(order.submitted_at - _OVERLAP)),)


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
