import asyncio
import datetime as dt

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.clock import ManualClock
from transport.breaker import Breaker, BreakerOpen, BreakerSettings, BreakerState, Permit

START = dt.datetime(2022, 12, 14, tzinfo=dt.UTC)
SETTINGS = BreakerSettings(failures_to_open=3, open_seconds=10, longest_open_seconds=35)


def seconds(count: float) -> dt.timedelta:
    return dt.timedelta(seconds=count)


def a_breaker(clock: ManualClock | None = None) -> Breaker:
    return Breaker("gpu", SETTINGS, clock=clock or ManualClock(START))


def opened(clock: ManualClock) -> Breaker:
    breaker = a_breaker(clock)
    for _ in range(3):
        breaker.fail(breaker.admit(), "timeout")
    return breaker


def test_it_opens_after_failures_in_a_row_and_names_the_reason() -> None:
    breaker = opened(ManualClock(START))

    assert breaker.state is BreakerState.OPEN
    with pytest.raises(BreakerOpen, match=r"gpu: not called, next try in 10 s \(timeout\)"):
        breaker.admit()


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = a_breaker()

    for _ in range(10):
        breaker.fail(breaker.admit(), "x")
        breaker.fail(breaker.admit(), "x")
        breaker.succeed(breaker.admit())

    assert breaker.state is BreakerState.CLOSED


def test_h12_only_one_of_many_callers_probes() -> None:
    clock = ManualClock(START)
    breaker = opened(clock)
    clock.advance(seconds(10))

    permits = []
    for _ in range(50):
        try:
            permits.append(breaker.admit())
        except BreakerOpen:
            continue

    assert [permit.is_probe for permit in permits] == [True]


async def test_h12_only_one_of_many_concurrent_calls_reaches_a_service_that_comes_back() -> None:
    clock = ManualClock(START)
    breaker = opened(clock)
    clock.advance(seconds(10))
    calls = 0

    async def slow() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        return "ok"

    results = await asyncio.gather(*(breaker.call(slow) for _ in range(20)), return_exceptions=True)

    assert calls == 1
    assert results.count("ok") == 1
    assert sum(isinstance(result, BreakerOpen) for result in results) == 19
    assert breaker.state is BreakerState.CLOSED


def test_failed_probes_double_the_wait_up_to_the_longest() -> None:
    clock = ManualClock(START)
    breaker = opened(clock)
    waits = []

    for _ in range(4):
        retry_at = breaker.snapshot().retry_at
        assert retry_at is not None
        waits.append((retry_at - clock.now()).total_seconds())
        clock.advance(retry_at - clock.now())
        breaker.fail(breaker.admit(), "still down")

    assert waits == [10, 20, 35, 35]


def test_a_good_probe_forgets_how_often_it_was_open() -> None:
    clock = ManualClock(START)
    breaker = opened(clock)
    clock.advance(seconds(10))
    breaker.fail(breaker.admit(), "x")
    clock.advance(seconds(20))
    breaker.succeed(breaker.admit())

    for _ in range(3):
        breaker.fail(breaker.admit(), "x")

    retry_at = breaker.snapshot().retry_at
    assert retry_at is not None
    assert (retry_at - clock.now()).total_seconds() == 10


def test_results_of_calls_from_before_it_opened_are_ignored() -> None:
    clock = ManualClock(START)
    breaker = a_breaker(clock)
    early = [breaker.admit() for _ in range(5)]
    for permit in early[:3]:
        breaker.fail(permit, "x")

    breaker.succeed(early[3])
    assert breaker.state is BreakerState.OPEN
    clock.advance(seconds(10))
    probe = breaker.admit()
    breaker.fail(early[4], "late")
    assert breaker.state is BreakerState.HALF_OPEN

    breaker.succeed(probe)
    assert breaker.state is BreakerState.CLOSED


async def test_a_cancelled_probe_is_neutral_and_the_next_caller_probes_at_once() -> None:
    clock = ManualClock(START)
    breaker = opened(clock)
    clock.advance(seconds(10))
    openings = breaker.snapshot().openings
    task = asyncio.create_task(breaker.call(asyncio.Event().wait))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert breaker.snapshot().openings == openings
    assert breaker.admit().is_probe


async def test_cancelled_calls_never_open_it() -> None:
    breaker = a_breaker()

    for _ in range(10):
        task = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    assert breaker.state is BreakerState.CLOSED
    assert breaker.snapshot().failures == 0


async def test_timeouts_count_as_failures() -> None:
    breaker = a_breaker()

    async def hang() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await breaker.call(hang)

    assert breaker.state is BreakerState.OPEN
    assert breaker.snapshot().reason == "TimeoutError"


async def test_an_error_that_is_our_own_mistake_does_not_open_it() -> None:
    breaker = a_breaker()

    async def mistake() -> None:
        raise ValueError("our bug")

    for _ in range(5):
        with pytest.raises(ValueError, match="our bug"):
            await breaker.call(mistake, is_failure=lambda exc: not isinstance(exc, ValueError))

    assert breaker.state is BreakerState.CLOSED


def test_h12_a_restart_goes_on_waiting_where_the_last_process_stopped() -> None:
    clock = ManualClock(START)
    stored = opened(clock).snapshot()
    clock.advance(seconds(4))
    restarted = a_breaker(clock)

    restarted.restore(stored)

    with pytest.raises(BreakerOpen, match="next try in 6 s"):
        restarted.admit()
    clock.advance(seconds(6))
    assert restarted.admit().is_probe


def test_h12_a_stored_wait_from_a_clock_far_ahead_is_cut_to_the_longest() -> None:
    clock = ManualClock(START + seconds(86400))
    stored = opened(clock).snapshot()
    earlier = ManualClock(START)
    restarted = a_breaker(earlier)

    restarted.restore(stored)
    earlier.advance(seconds(35))

    assert restarted.admit().is_probe


def test_a_stored_half_open_state_probes_again_after_a_restart() -> None:
    clock = ManualClock(START)
    breaker = opened(clock)
    clock.advance(seconds(10))
    breaker.admit()
    restarted = a_breaker(clock)

    restarted.restore(breaker.snapshot())

    assert restarted.admit().is_probe


class BreakerMachine(RuleBasedStateMachine):
    """Callers come, succeed, fail, give up and time passes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(START)
        self.breaker = Breaker("gpu", SETTINGS, clock=self.clock)
        self.out: list[Permit] = []
        self.probes_out = 0

    @rule(patience=st.floats(0, 40))
    def time_passes(self, patience: float) -> None:
        self.clock.advance(seconds(patience))

    @rule()
    def somebody_asks(self) -> None:
        before = self.breaker.snapshot()
        due = before.retry_at is not None and before.retry_at <= self.clock.now()
        try:
            permit = self.breaker.admit()
        except BreakerOpen:
            assert before.state is not BreakerState.CLOSED
            assert before.state is BreakerState.HALF_OPEN or not due
            return
        assert permit.is_probe == (before.state is BreakerState.OPEN)
        self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["succeed", "fail", "release"]))
    def somebody_returns(self, data: st.DataObject, outcome: str) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.snapshot()
        if outcome == "succeed":
            self.breaker.succeed(permit)
        elif outcome == "fail":
            self.breaker.fail(permit, "x")
        else:
            self.breaker.release(permit)
        if before.state is BreakerState.OPEN:
            assert self.breaker.snapshot() == before
        if outcome == "release":
            assert self.breaker.snapshot().openings == before.openings

    @rule()
    def the_process_restarts(self) -> None:
        stored = self.breaker.snapshot()
        self.breaker = Breaker("gpu", SETTINGS, clock=self.clock)
        self.breaker.restore(stored)
        self.out = []

    @invariant()
    def never_more_than_one_live_probe(self) -> None:
        probes = [permit for permit in self.out if permit.is_probe]
        newest = max((permit.generation for permit in self.out), default=-1)
        live = [permit for permit in probes if permit.generation == newest]
        assert len(live) <= 1
        if self.breaker.state is BreakerState.HALF_OPEN:
            assert len(live) == 1

    @invariant()
    def no_wait_is_longer_than_the_longest(self) -> None:
        retry_at = self.breaker.snapshot().retry_at
        if retry_at is not None:
            assert retry_at - self.clock.now() <= seconds(SETTINGS.longest_open_seconds)

    @invariant()
    def closed_means_fewer_failures_than_the_threshold(self) -> None:
        snapshot = self.breaker.snapshot()
        assert (snapshot.retry_at is None) == (snapshot.state is BreakerState.CLOSED)
        assert snapshot.failures < SETTINGS.failures_to_open


BreakerMachine.TestCase.settings = hypothesis_settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
test_breaker_under_any_order_of_events = BreakerMachine.TestCase
