"""Several programs that write the latch at the same time: a daemon that halts, kills that close."""

import datetime as dt
import fcntl
import os
import subprocess
import sys
from pathlib import Path

from state.latch import Latch
from state.latch_record import KillAction

AT = dt.datetime(2022, 11, 14, 13, 0, tzinfo=dt.UTC)
TIMES = 250
_CLOSER = """
import sys
from pathlib import Path
from state.latch import Latch
latch = Latch(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
for _ in range(int(sys.argv[2])):
    latch.begin_closing(forbids_shorting=False)
"""


def closing_beside(directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _CLOSER, str(directory), str(TIMES)]
    root = Path(__file__).parents[3]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_no_note_of_programs_that_write_beside_each_other_is_lost(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    latch.arm_new(AT)
    latch.engage("flatten", AT, pending=KillAction.FLATTEN)
    others = [closing_beside(tmp_path) for _ in range(2)]
    for one in others:
        assert one.stdin is not None
        # Its end is the sign to begin.
        one.stdin.close()
    for _ in range(TIMES):
        latch.engage("a loss", AT)

    for one in others:
        with one:
            assert one.wait(timeout=60) == 0
    state = latch.read()
    assert (state.closings, state.pending) == (2 * TIMES, KillAction.FLATTEN)
    assert state.sequence == 2 + 3 * TIMES


def test_a_program_that_is_frozen_in_its_turn_does_not_hold_a_kill_up(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    latch.arm_new(AT)
    frozen = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        state = latch.engage("a loss", AT)
    finally:
        os.close(frozen)

    assert (state.is_engaged, state.reason) == (True, "a loss")
