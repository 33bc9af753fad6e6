"""The way to one model: requests wait in line, and what waits together is computed together."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import ProviderUnavailable
from modelserver.refusals import unavailable

Array = NDArray[np.float32]
Observe = Callable[[int, float], None]


class Engine(Protocol):
    """What computes; ``forecasts.local_process.ModelProcess`` is one."""

    def run(self, contexts: Array, deadline_seconds: float) -> Array:
        """Turn (n, lookback, features) into (n, horizon, levels).

        Raises:
            ProviderUnavailable: no answer in time.
        """

    def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    contexts: Array
    answer: "asyncio.Future[Array]"

    @property
    def rows(self) -> int:
        return int(self.contexts.shape[0])


class Lane:
    """One line before one or several engines that hold the same model."""

    def __init__(
        self, *, batch_rows: int, deadline_seconds: float, pool: Executor, observe: Observe
    ) -> None:
        self._batch_rows = batch_rows
        self._deadline_seconds = deadline_seconds
        self._pool = pool
        self._observe = observe
        self._line: asyncio.Queue[_Job] = asyncio.Queue()

    @property
    def waiting(self) -> int:
        """Number of requests in line."""
        return self._line.qsize()

    async def ask(self, contexts: Array) -> Array:
        """Wait for the quantiles of some contexts.

        Raises:
            InferenceRefused: not computed in time, or the engine failed.
        """
        answer: asyncio.Future[Array] = asyncio.get_running_loop().create_future()
        self._line.put_nowait(_Job(contexts=contexts, answer=answer))
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await answer
        except TimeoutError:
            raise unavailable(f"not computed within {self._deadline_seconds:g} s") from None

    async def work(self, engine: Engine) -> None:
        """Compute what is in line with one engine, until cancelled."""
        kept: _Job | None = None
        while True:
            batch = [kept or await self._line.get()]
            kept, rows = None, batch[0].rows
            while not self._line.empty() and kept is None:
                job = self._line.get_nowait()
                if rows + job.rows > self._batch_rows:
                    kept = job
                else:
                    batch.append(job)
                    rows += job.rows
            # Who gave up waiting is not computed for.
            await self._compute(engine, [job for job in batch if not job.answer.done()])

    async def _compute(self, engine: Engine, batch: list[_Job]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        contexts = np.concatenate([job.contexts for job in batch])
        started = loop.time()
        try:
            answer = await loop.run_in_executor(
                self._pool, engine.run, contexts, self._deadline_seconds
            )
        except Exception as exc:  # noqa: BLE001 -- whatever it is, the line must go on
            _fail(batch, exc)
            return
        self._observe(contexts.shape[0], loop.time() - started)
        place = 0
        for job in batch:
            if not job.answer.done():
                job.answer.set_result(answer[place : place + job.rows])
            place += job.rows


def _fail(batch: list[_Job], error: Exception) -> None:
    # What is no failure of the model's process is a fault here; its text stays here too.
    known = isinstance(error, ProviderUnavailable)
    reason = str(error) if known else f"the model failed ({type(error).__name__})"
    for job in batch:
        if not job.answer.done():
            job.answer.set_exception(unavailable(reason))
