"""How fast the local model answers, beside what the arithmetic alone would take.

The floor is the number of multiply-adds of the network over the rate of a matrix product of
the best size on one thread, measured in turn with ours, in a process that has one thread too.
Both do a few in a row in their turn and the best counts: what is measured is the arithmetic, not
how cold a turn of the other one leaves the cache.
Ours is the whole way: from an array in the daemon through the pipes to the model's process
and back.
"""

import os
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from bench.table import Row
from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore

COMMAND = "python -m bench local_twin"
TURNS = {1: 40, 100: 20, 500: 6, 5000: 2}
TARGETS = {1: "< 1 ms", 100: "<= 1.5"}
DEADLINE_SECONDS = 120.0
START_TURNS = 5
IN_A_ROW = 5

# Prints, for each line it reads, the best rate of a matrix product in FLOP/s.
GEMM = """
import sys, time
import numpy as np
sizes = (256, 512, 1024)
pairs = [(np.ones((n, n), np.float32), np.ones((n, n), np.float32)) for n in sizes]
for _ in sys.stdin:
    best = 0.0
    for a, b in pairs:
        for _ in range(5):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * a.shape[0] ** 3 / (time.perf_counter() - start))
    print(best, flush=True)
"""


def measure() -> list[Row]:
    """Time 1, 100, 500 and 5,000 symbols, and the start of the model's process."""
    model = ModelStore().load("lstm")
    rows = [_start_up(model.onnx)]
    process = ModelProcess(model.onnx)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with subprocess.Popen(
        [sys.executable, "-c", GEMM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **one_thread},
    ) as gemm:
        for count, turns in TURNS.items():
            rows.append(_row(process, gemm, count, turns, model.card.lookback))
    process.close()
    return rows


def _row(
    process: ModelProcess, gemm: "subprocess.Popen[str]", count: int, turns: int, lookback: int
) -> Row:
    generator = np.random.default_rng(1)
    contexts = generator.normal(size=(count, lookback, 20)).astype(np.float32)
    _answer(process, contexts)
    ours, rate = float("inf"), 0.0
    for _ in range(turns):
        for _ in range(IN_A_ROW):
            start = time.perf_counter()
            _answer(process, contexts)
            ours = min(ours, time.perf_counter() - start)
        rate = max(rate, _rate(gemm))
    return Row(
        name=f"local model, {count:,} symbol{'s' if count > 1 else ''}",
        ours=ours * 1000,
        unit="ms",
        command=COMMAND,
        floor=count * _operations(lookback) / rate * 1000,
        floor_name="matrix products of that size",
        target=TARGETS.get(count, ""),
    )


def _start_up(onnx: bytes) -> Row:
    best = float("inf")
    empty = np.zeros((1, 60, 20), dtype=np.float32)
    for _ in range(START_TURNS):
        process = ModelProcess(onnx)
        start = time.perf_counter()
        process.run(empty, DEADLINE_SECONDS)
        best = min(best, time.perf_counter() - start)
        process.close()
    bare = min(_bare_start() for _ in range(START_TURNS))
    return Row(
        name="local model, process started to first answer",
        ours=best * 1000,
        unit="ms",
        command=COMMAND,
        floor=bare * 1000,
        floor_name="python -c 'import onnxruntime'",
        target="< 300 ms",
    )


def _bare_start() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import onnxruntime"], check=True)
    return time.perf_counter() - start


def _answer(process: ModelProcess, contexts: NDArray[np.float32]) -> None:
    process.run(contexts, DEADLINE_SECONDS)


def _rate(gemm: "subprocess.Popen[str]") -> float:
    if gemm.stdin is None or gemm.stdout is None:
        raise OSError("the matrix products cannot be timed")
    gemm.stdin.write("\n")
    gemm.stdin.flush()
    return float(gemm.stdout.readline())


def _operations(lookback: int, inputs: int = 20, hidden: int = 64, layers: int = 2) -> float:
    per_step = sum(
        2 * 4 * hidden * ((inputs if layer == 0 else hidden) + hidden) for layer in range(layers)
    )
    return float(per_step * lookback)
