"""Simulated time steps only when nothing is in flight."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from transport.replay_loop import ReplayLoop


def replay(main: Coroutine[Any, Any, Any], speed: float = 0.0) -> Any:
    with asyncio.Runner(loop_factory=lambda: ReplayLoop(speed=speed)) as runner:
        return runner.run(main)


def test_a_day_of_sleep_takes_no_real_time() -> None:
    async def main() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time() - start

    began = time.monotonic()

    assert replay(main()) == pytest.approx(86_400)
    assert time.monotonic() - began < 5


def test_time_stands_still_during_a_round_trip_over_sockets() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(b"pong")
        await writer.drain()
        writer.close()

    async def main() -> float:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ticker = asyncio.create_task(asyncio.sleep(1000))
        start = asyncio.get_running_loop().time()
        for _ in range(50):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"pong"
            writer.close()
        spent = asyncio.get_running_loop().time() - start
        ticker.cancel()
        server.close()
        return spent

    assert replay(main()) == 0


def test_time_stands_still_while_a_job_runs_in_a_thread() -> None:
    async def main() -> float:
        ticker = asyncio.create_task(asyncio.sleep(1000))
        start = asyncio.get_running_loop().time()
        await asyncio.to_thread(time.sleep, 0.05)
        spent = asyncio.get_running_loop().time() - start
        ticker.cancel()
        return spent

    assert replay(main()) == 0


def test_a_deadline_passes_at_once_when_the_other_side_never_answers() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    async def main() -> float:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(15):
                await reader.readexactly(1)
        spent = asyncio.get_running_loop().time() - start
        writer.close()
        await closed.wait()
        server.close()
        return spent

    closed = asyncio.Event()
    assert replay(main()) == pytest.approx(15)


def test_timers_fire_in_the_order_of_their_simulated_moments() -> None:
    async def main() -> list[int]:
        seen: list[int] = []

        async def note(after: int) -> None:
            await asyncio.sleep(after)
            seen.append(after)

        await asyncio.gather(*(note(after) for after in (300, 10, 7200, 60)))
        return seen

    assert replay(main()) == [10, 60, 300, 7200]


def test_a_scaled_loop_runs_a_simulated_hour_in_a_fraction_of_a_second() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - start

    assert replay(main(), speed=36_000) >= 3600


def test_time_stands_still_for_work_outside_but_no_longer_than_it_may() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ReplayLoop)
        began = time.monotonic()
        with loop.hold(0.2):
            await asyncio.sleep(1000)
        return loop.time(), time.monotonic() - began

    simulated, real = replay(main())

    assert simulated == pytest.approx(1000)
    assert 0.2 <= real < 5


def _block(seconds: float) -> None:
    """Keep the loop from its timers, as work does."""
    time.sleep(seconds)


def test_a_scaled_loop_goes_at_the_machines_pace_for_as_long_as_it_is_asked_to() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ReplayLoop)
        with loop.real_time(60):
            began = loop.time()
            _block(0.2)
            slow = loop.time() - began
        began = loop.time()
        _block(0.05)
        return slow, loop.time() - began

    slow, fast = replay(main(), speed=1000)

    assert 0.2 <= slow < 10
    assert fast >= 50


def test_the_machines_pace_ends_by_itself_and_no_timer_is_lost() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ReplayLoop)
        with loop.real_time(0.05):
            await asyncio.sleep(500)
            return loop.pace

    began = time.monotonic()

    assert replay(main(), speed=1000) == 1000
    assert time.monotonic() - began < 20


def test_a_long_job_holds_time_for_as_long_as_it_was_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transport.replay_loop._LONGEST_HOLD_SECONDS", 0.02)

    async def main(announced: float) -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ReplayLoop)
        ticker = asyncio.create_task(asyncio.sleep(1000))
        with loop.hold(announced):
            await loop.run_in_executor(None, time.sleep, 0.3)
        ticker.cancel()
        return loop.time()

    assert replay(main(5.0)) == 0
    assert replay(main(0.0)) >= 1000
