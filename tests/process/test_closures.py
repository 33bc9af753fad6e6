"""A day on which the exchange stays closed without a word, over sockets and through the adapter."""

from collections.abc import Callable

from tests.support.processes import World

Open = Callable[..., World]


def test_f06_on_a_day_of_mourning_nothing_is_sent_and_everything_says_why(
    open_world: Open,
) -> None:
    world = open_world(start="2022-11-14T09:10:00", speed=60)
    world.order_up("closures", date="2022-11-14")
    daemon = world.daemon()

    submit = daemon.wait_event("run.finished", kind="submit")

    assert submit["state"] == "SKIPPED"
    assert submit["reason"] == "closed: the broker opens next on 2022-11-15"
    assert world.posts() == []
    status = world.read("status")
    assert status["trading_state"] == "REDUCING"
    assert "2022-11-14 (ours 09:30-16:00, theirs closed)" in status["market_check"]
    told = {event["event"] for event in daemon.events()}
    assert {"calendar.disagrees", "market.closed", "trading_state.changed"} <= told
    assert daemon.terminate() == 0
