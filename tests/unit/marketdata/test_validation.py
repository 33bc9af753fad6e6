import dataclasses
import datetime as dt
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import Symbol
from domain.market import Bar, Session
from marketdata.session_calendar import NyseCalendar, day_start
from marketdata.validation import BarRules, validate

ACME = Symbol("ACME")
RULES = BarRules(look_back=20, min_history=25)
SESSIONS = tuple(NyseCalendar().sessions(dt.date(2022, 10, 3), dt.date(2022, 12, 13)))


def bar(session: Session, close: float) -> Bar:
    return Bar(
        symbol=ACME,
        at=day_start(session.date),
        open=close - 0.5,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=1000,
    )


def series(sessions: Sequence[Session] = SESSIONS) -> list[Bar]:
    return [bar(session, 100 + (number % 7)) for number, session in enumerate(sessions)]


def forged(one: Bar, **changes: float | None) -> Bar:
    """A bar that skipped its own check, as a careless source could make it."""
    made = dataclasses.replace(one)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def reason(bars: Sequence[Bar], *actions: dt.date) -> str | None:
    result = validate({ACME: bars}, SESSIONS, symbols=[ACME], rules=RULES, actions={ACME: actions})
    return result.excluded.get(ACME)


def test_clean_bars_pass_unchanged() -> None:
    bars = series()

    result = validate({ACME: bars}, SESSIONS, symbols=[ACME], rules=RULES)

    assert result.bars == {ACME: tuple(bars)}
    assert result.excluded == {}


def test_g01_a_wanted_symbol_without_bars_sits_out() -> None:
    result = validate({}, SESSIONS, symbols=[ACME], rules=RULES)

    assert result.excluded == {ACME: "no bars"}


def test_an_unwanted_symbol_is_dropped_in_silence() -> None:
    result = validate({ACME: series()}, SESSIONS, symbols=[], rules=RULES)

    assert (result.bars, result.excluded) == ({}, {})


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_g02_g03_an_impossible_price_takes_the_symbol_out(field: str, value: float) -> None:
    bars = series()
    bars[5] = forged(bars[5], **{field: value})

    assert (reason(bars) or "").startswith("price ")


@pytest.mark.parametrize("volume", [math.nan, math.inf, -1.0])
def test_g02_g03_an_impossible_volume_takes_the_symbol_out(volume: float) -> None:
    bars = series()
    bars[5] = forged(bars[5], volume=volume)

    assert reason(bars) == f"bad volume on {SESSIONS[5].date}"


def test_g03_a_high_below_the_low_takes_the_symbol_out() -> None:
    bars = series()
    bars[5] = forged(bars[5], high=bars[5].low, low=bars[5].high)

    assert reason(bars) == f"price above the high on {SESSIONS[5].date}"


def test_a_close_under_the_low_takes_the_symbol_out() -> None:
    bars = series()
    bars[5] = forged(bars[5], close=90.0)

    assert reason(bars) == f"price below the low on {SESSIONS[5].date}"


def test_a_bar_of_another_symbol_takes_the_symbol_out() -> None:
    bars = series()
    bars[5] = dataclasses.replace(bars[5], symbol=Symbol("OTHER"))

    assert reason(bars) == "holds a bar of OTHER"


def test_g11_two_bars_of_one_day_take_the_symbol_out() -> None:
    bars = series()

    assert reason([*bars[:6], bars[5], *bars[6:]]) == f"two bars on {SESSIONS[5].date}"


def test_g11_bars_out_of_order_take_the_symbol_out() -> None:
    bars = series()
    bars[3], bars[4] = bars[4], bars[3]

    assert "comes after" in (reason(bars) or "")


def test_a_bar_on_a_holiday_takes_the_symbol_out() -> None:
    thanksgiving = dt.date(2022, 11, 24)
    bars = series()
    extra = dataclasses.replace(bars[0], at=day_start(thanksgiving))

    answer = reason(sorted([*bars, extra], key=lambda one: one.at))

    assert answer == "bar of 2022-11-24, when the exchange was closed"


def test_a_bar_from_the_future_takes_the_symbol_out() -> None:
    future = dataclasses.replace(series()[-1], at=day_start(dt.date(2022, 12, 14)))

    assert "newer than the last complete session 2022-12-13" in (reason([*series(), future]) or "")


def test_g04_yesterdays_newest_bar_is_stale_today() -> None:
    assert reason(series()[:-1]) == "stale: last bar 2022-12-12, expected 2022-12-13"


def test_a_short_history_sits_out() -> None:
    assert reason(series()[-24:]) == "only 24 bars, 25 needed"


def test_g01_a_hole_inside_the_look_back_takes_the_symbol_out() -> None:
    bars = series()
    missing = SESSIONS[-10].date
    del bars[-10]

    assert reason(bars) == f"no bar for {missing} inside the look-back"


def test_a_hole_before_the_look_back_is_no_matter() -> None:
    bars = series()
    del bars[3]

    assert reason(bars) is None


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 10.0])
def test_g05_g06_an_unexplained_jump_takes_the_symbol_out(factor: float) -> None:
    bars = series()
    bars[-8:] = [bar(session, 100 * factor) for session in SESSIONS[-8:]]

    assert "unexplained move" in (reason(bars) or "")


def test_g05_a_split_explains_a_jump() -> None:
    bars = series()
    bars[-8:] = [bar(session, 25 + n / 10) for n, session in enumerate(SESSIONS[-8:])]

    assert reason(bars, SESSIONS[-8].date) is None
    assert "unexplained move" in (reason(bars, SESSIONS[-9].date) or "")


def test_a_move_at_the_bound_passes() -> None:
    bars = series()
    bars[-1] = bar(SESSIONS[-1], round(bars[-2].close * 1.39, 2))

    assert reason(bars) is None


def test_g04_a_feed_that_repeats_yesterday_is_frozen() -> None:
    bars = series()
    bars[-1] = dataclasses.replace(bars[-2], at=bars[-1].at)

    assert reason(bars) == "frozen: the last 2 bars are the same"


def test_closes_alone_may_stand_still_for_a_while() -> None:
    closes = [Bar(symbol=ACME, at=one.at, close=one.close) for one in series()]
    still = [dataclasses.replace(one, close=100.0) for one in closes[-5:]]

    assert reason([*closes[:-4], *still[1:]]) is None
    assert reason([*closes[:-5], *still]) == "frozen: the last 5 bars are the same"


def test_nothing_passes_when_no_session_is_known() -> None:
    result = validate({ACME: series()}, [], symbols=[ACME], rules=RULES)

    assert result.excluded == {ACME: "no session to compare with"}


@given(
    place=st.integers(0, len(SESSIONS) - 1),
    field=st.sampled_from(["open", "high", "low", "close", "volume"]),
    value=st.floats(allow_nan=True, allow_infinity=True),
)
def test_g02_what_passes_is_finite_and_in_range(place: int, field: str, value: float) -> None:
    bars = series()
    bars[place] = forged(bars[place], **{field: value})

    result = validate({ACME: bars}, SESSIONS, symbols=[ACME], rules=RULES)

    for one in result.bars.get(ACME, ()):
        assert one.open is not None
        assert one.high is not None
        assert one.low is not None
        assert one.volume is not None
        assert 0 < one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high
        assert math.isfinite(one.high)
        assert 0 <= one.volume < math.inf
