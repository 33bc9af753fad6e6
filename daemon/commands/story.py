"""``explain`` for a person: one symbol's day from the data to the fills."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.commands.output import print_pairs, print_table

Row = Mapping[str, Any]


def tell(story: Row) -> None:
    """Print the story in the order in which it happened."""
    decision = story["decision"] or {}
    pairs = [("symbol", story["symbol"]), ("session", story["session_date"])]
    pairs += _known(decision) + _wished(decision)
    print_pairs(pairs)
    _tell_headlines(decision.get("headlines") or ())
    for order in story["orders"]:
        _tell_order(order)
    if not story["orders"]:
        print_pairs([("order", "none")])


def _known(decision: Row) -> list[tuple[str, Any]]:
    if not decision:
        return []
    pairs = [
        ("decided at", decision["as_of"]),
        ("data until", decision["data_cutoff"]),
        ("last close", decision["last_close"]),
        ("held before", decision["position"]),
        ("excluded", decision["excluded"]),
    ]
    forecast = decision["forecast"]
    pairs.append(("forecast", "none" if forecast is None else _forecast(forecast)))
    sentiment = decision["sentiment"]
    news = "no headlines" if sentiment is None else _news(sentiment)
    return [*pairs, ("news", news)]


def _forecast(forecast: Row) -> str:
    levels, quantiles = forecast["levels"], forecast["quantiles"]
    # They are of the log return: what the price does is told.
    low, middle, high = (
        f"{math.expm1(quantiles[place]):+.1%}" for place in (0, len(quantiles) // 2, -1)
    )
    return (
        f"{forecast['source']} {forecast['model']}: P(up) {forecast['probability_up']:.2f}"
        f" in {forecast['horizon']} sessions, middle {middle},"
        f" {levels[-1] - levels[0]:.0%} within {low} to {high}"
    )


def _news(sentiment: Row) -> str:
    return (
        f"{sentiment['label']} {sentiment['score']:+.2f} ({sentiment['source']},"
        f" confidence {sentiment['confidence']:.2f})"
    )


def _tell_headlines(headlines: Sequence[Row]) -> None:
    if not headlines:
        return
    columns = {"published": "published", "source": "source", "headline": "headline"}
    rows = [
        {
            "published": one["published_at"][:16].replace("T", " "),
            "source": one["source"],
            "headline": one["headline"] + " (hid something: not heard)" * one["was_altered"],
        }
        for one in headlines
    ]
    print_table("headlines behind the score", columns, rows, empty="")


def _wished(decision: Row) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = [
        (f"strategy {signal['strategy']}", f"{signal['action']}: {signal['reason']}")
        for signal in decision.get("signals") or ()
    ]
    combined = decision.get("combined")
    if combined is not None:
        pairs += [
            ("combined", f"{combined['action']}, confidence {combined['confidence']:.2f}"),
            ("why", combined["reason"]),
            ("news tilt", f"x {combined['sentiment_tilt']:.2f}"),
            ("Kelly weight", f"{combined['kelly_weight']:.2%} of equity"),
            ("target", f"{combined['target_quantity']} shares"),
        ]
    return pairs


def _tell_order(order: Row) -> None:
    print_pairs(
        [
            ("order", f"{order['side']} {order['quantity']} limit {order['limit_price']}"),
            ("id", order["client_order_id"]),
            ("state", f"{order['state']} {order['state_reason']}".strip()),
            ("filled", f"{order['filled_quantity']} at {order['filled_avg_price'] or '-'}"),
        ]
    )
    checks: Sequence[Row] = order.get("checks", ())
    print_table(
        "limits",
        {
            "limit": "limit",
            "passed": "passed",
            "figure": "figure",
            "bound": "bound",
            "detail": "detail",
        },
        checks,
        empty="No limit was asked: the order is not ours.",
    )
    fills = order.get("fills", ())
    if fills:
        print_table(
            "fills", {"at": "at", "quantity": "quantity", "price": "price"}, fills, empty=""
        )
