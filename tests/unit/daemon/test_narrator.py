"""The demo's lines: each fear once, in plain words."""

from typing import Any

import pytest

from daemon.demo.narrator import Narrator

AT = "2022-11-14T14:20:00+00:00"


def told(*events: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    narrator = Narrator(lambda time, line: lines.append(f"{time} {line}"))
    for event in events:
        narrator.hear({"at": AT, **event})
    return lines


def test_times_are_those_of_new_york() -> None:
    assert told({"event": "orders.sent", "sent": 1, "denied": 0}) == [
        "09:20 1 order at the broker before the open, 0 denied"
    ]


def test_a_denial_names_the_limits() -> None:
    event = {"event": "order.denied", "symbol": "AAPL", "limits": ["gross_pct", "position_pct"]}

    assert told(event) == ["09:20 AAPL denied by gross_pct, position_pct"]


def test_only_the_order_whose_answer_was_lost_is_found_again() -> None:
    lost = {"event": "order.unknown", "symbol": "AMZN"}
    found = {"event": "order.found", "symbol": "AMZN"}
    other = {"event": "order.found", "symbol": "GOOG"}

    assert len(told(lost, other, found)) == 2


def test_a_fill_found_after_the_stream_broke_is_told_once() -> None:
    broke = {"event": "stream.lost", "text": "closed"}
    fill = {"event": "fill.booked", "symbol": "AMZN", "origin": "activities"}

    assert told(fill) == []
    assert len(told(broke, fill, fill)) == 2


def test_a_healthy_stream_says_nothing_of_single_fills() -> None:
    assert told({"event": "fill.booked", "symbol": "AMZN", "origin": "stream"}) == []


def test_the_second_day_is_named_the_first_is_in_the_title() -> None:
    first = {"event": "session.began", "date": "2022-11-14"}
    second = {"event": "session.began", "date": "2022-11-15"}

    assert told(first, second) == ["09:20 Tuesday, 15 November 2022"]


@pytest.mark.parametrize(("is_reconciled", "word"), [(True, "balances"), (False, "NOT RECONCILED")])
def test_a_report_that_does_not_balance_is_shouted(is_reconciled: bool, word: str) -> None:
    event = {
        "event": "report.written",
        "fills": 1,
        "equity_end": "1.00",
        "pnl": "+1.00",
        "residual": "0.00",
        "reconciled": is_reconciled,
    }

    assert f"({word})" in told(event)[0]
    assert "1 fill," in told(event)[0]


def test_unknown_events_are_not_told() -> None:
    assert told({"event": "something.else"}, {"no": "event"}) == []
