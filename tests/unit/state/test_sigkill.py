"""A writer killed at any moment: what it had acknowledged is there, and the books agree."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from state.ledger import Ledger
from state.store import Store
from tests.support.state_builders import AAPL, open_store, whole_table

WRITER = """
import sys, pathlib
from decimal import Decimal
from state.journal import Journal
from state.ledger import Ledger
from tests.support.state_builders import a_fill, approved, open_store

store = open_store(pathlib.Path(sys.argv[1]))
Journal(store).record_plan([approved("ob-1", quantity=Decimal(100000))], "run")
print("ready", flush=True)
for number in range(1, 100000):
    Ledger(store).apply_fill(a_fill(f"x-{number}", "1", "10", cumulative=str(number)), origin="s")
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 5, 40, 150])
def test_d01_killed_writer_loses_nothing_that_it_acknowledged(directory: Path, lines: int) -> None:
    acknowledged = killed_after(directory, lines)

    store = open_store(directory)
    booked = Ledger(store).position(AAPL).quantity
    assert booked in {acknowledged, acknowledged + 1}
    assert Ledger(store).cash() == -10 * booked
    assert rows(store, "fills") == booked
    store.close()


def killed_after(directory: Path, lines: int) -> int:
    last = "0"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for _ in range(lines):
            last = writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        # What it still managed to say before it died was acknowledged too.
        last = (writer.stdout.read().split() or [last])[-1]
    return int(last)


def rows(store: Store, table: str) -> int:
    return len(store.rows(whole_table(table)))
