"""Nothing of the order path is left in the tree that nothing calls (N10)."""

from pathlib import Path

from vulture import Vulture

from daemon.provenance import ROOMS

ROOT = Path(__file__).parents[3]
ORDER_PATH = ("execution", "risk", "state", "strategies", "brokers/alpaca", "daemon/session")
# Python or SQLite reads these; the others are looked at by tests and documents only.
READ_ELSEWHERE = {
    "row_factory",
    "traceback",
    "last_frame_at",
    "sample_cov_ddof0",
    "remarks",
    "suspended",
    "sent_at",
    "acknowledged_at",
    "EVENT_KINDS",
    "rebuild",
}


def unused(directory: Path, rooms: tuple[str, ...]) -> set[str]:
    finder = Vulture()
    finder.scavenge([directory / room for room in ROOMS if (directory / room).is_dir()])
    found = finder.get_unused_code(min_confidence=60)
    return {
        f"{item.filename.relative_to(directory)}:{item.first_lineno} {item.name}"
        for item in found
        if str(item.filename.relative_to(directory)).startswith(rooms)
        and item.name not in READ_ELSEWHERE
    }


def test_n10_no_code_of_the_order_path_is_left_that_nothing_calls() -> None:
    assert unused(ROOT, ORDER_PATH) == set()


def test_n10_a_function_that_nothing_calls_any_more_is_found(tmp_path: Path) -> None:
    room = tmp_path / "execution"
    room.mkdir()
    (room / "old.py").write_text("def send_the_old_way() -> None:\n    pass\n")

    assert unused(tmp_path, ORDER_PATH) == {"execution/old.py:1 send_the_old_way"}
