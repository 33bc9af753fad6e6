"""What ``openbell explain`` tells a person."""

import pytest

from daemon.commands.story import tell

FORECAST = {
    "source": "local",
    "model": "lstm/1",
    "probability_up": 0.6,
    "horizon": 40,
    "levels": [0.05, 0.5, 0.95],
    "quantiles": [-0.6931472, 0.0487902, 0.4054651],
}
DECISION = {
    "as_of": "2022-11-14T13:30:00+00:00",
    "data_cutoff": "2022-11-11",
    "last_close": 149.7,
    "position": "0",
    "excluded": None,
    "forecast": FORECAST,
    "sentiment": None,
}


def test_a_forecast_is_told_as_what_the_price_does(capsys: pytest.CaptureFixture[str]) -> None:
    tell({"symbol": "AAPL", "session_date": "2022-11-14", "decision": DECISION, "orders": []})

    told = " ".join(capsys.readouterr().out.split())
    assert "P(up) 0.60 in 40 sessions, middle +5.0%, 90% within -50.0% to +50.0%" in told


def test_a_headline_cannot_speak_to_the_terminal_nor_end_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Behind a backslash the bracket was markup again: closing what was not open is an error.
    said = r"up \[/] 5 [red]% :fire:" + "\x1b]0;title\x07\u202e"
    headline = {
        "published_at": "2022-11-13T20:00:00+00:00",
        "source": "wire",
        "headline": said,
        "was_altered": False,
    }
    decision = {**DECISION, "headlines": [headline]}

    tell({"symbol": "AAPL", "session_date": "2022-11-14", "decision": decision, "orders": []})

    assert r"up \[/] 5 [red]% :fire: ]0;title" in capsys.readouterr().out
