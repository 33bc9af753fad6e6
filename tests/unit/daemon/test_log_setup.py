import json
import subprocess
import sys

from tests.support.running import REPOSITORY

# A process of its own: logging is set up once in each.
LOGS = """
import structlog
from daemon.log_setup import configure
from domain.clock import SystemClock

configure(level="info", form="json", clock=SystemClock(), secrets=["made-up"])
structlog.get_logger("day").info(
    "decision.made",
    reason="key made-up",
    problems=["events: key made-up"],
    excluded={"AAPL": ("made-up", 1)},
)
"""


def test_known_secrets_are_blotted_out_of_lists_and_mappings_too() -> None:
    done = subprocess.run(
        (sys.executable, "-c", LOGS), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    told = json.loads(done.stderr)
    assert told["reason"] == "key [secret]"
    assert told["problems"] == ["events: key [secret]"]
    assert told["excluded"] == {"AAPL": ["[secret]", 1]}


def test_known_secrets_are_blotted_out_of_what_libraries_say_too() -> None:
    code = """
import logging
from daemon.log_setup import configure
from domain.clock import SystemClock

configure(level="info", form="json", clock=SystemClock(), secrets=["made", "made-up"])
try:
    raise ValueError("GET /?key=made-up")
except ValueError:
    logging.getLogger("library").exception("not sent with %s", "made-up")
"""
    done = subprocess.run(
        (sys.executable, "-c", code), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert "not sent with [secret]\n" in done.stderr
    assert "ValueError: GET /?key=[secret]\n" in done.stderr


def test_a_line_on_a_console_obeys_nothing_that_came_from_outside() -> None:
    code = LOGS.replace('"json"', '"console"').replace("key made-up", "x\\x1b]0;title\\x07y")
    done = subprocess.run(
        (sys.executable, "-c", code), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert "x ]0;title y" in done.stderr
    assert "\x1b" not in done.stderr
