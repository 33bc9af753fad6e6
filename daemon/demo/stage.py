"""The demo's workplace: a directory that appears whole, or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from domain.errors import StateError
from state.files import DATABASE, LOCK, WriterLock

_PREFIX = ".openbell-demo-"
_EMBEDDED_ACCOUNT = "paper"
_JOURNAL = "paper/exchange.jsonl"
# What a demo replaces, and what it leaves where it is; anything else is not openbell's.
_KEPT = ("models", "bars")
_FOLDERS = (_EMBEDDED_ACCOUNT, "reports", "backups", "archive", *_KEPT)
_FILES = ("KILL", "PAUSE", "openbell.", "demo.log", "mqtt-nonces.json")


@contextlib.contextmanager
def stage(out: Path) -> Iterator[Path]:
    """Work beside ``out``; put everything in its place only when the block ends well.

    Raises:
        StateError: ``out`` holds what no demo made, or a daemon is at work in it.
    """
    out = out.expanduser().absolute()
    _check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out.parent))
    except OSError as exc:
        raise StateError(f"{out}: cannot be written ({exc}); choose another with --out") from exc
    try:
        yield workplace
        _publish(workplace, out)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _check_replaceable(out: Path) -> None:
    try:
        has_books = (out / DATABASE).exists()
        is_embedded = (out / _EMBEDDED_ACCOUNT).is_dir()
        is_state = has_books or (is_embedded and (out / _JOURNAL).exists())
        foreign = _foreign(out, _FOLDERS if is_state else _KEPT) if out.exists() else None
    except OSError as exc:
        raise StateError(f"{out}: cannot be read ({exc}); choose another with --out") from exc
    if has_books and not is_embedded:
        raise StateError(f"{out} holds the state of a real account; choose another with --out")
    if foreign is not None:
        raise StateError(
            f"{out} holds {foreign!r}, which is no state of openbell; choose a folder of its own"
            " with --out"
        )
    if (out / LOCK).exists():
        WriterLock(out / LOCK).release()


def _foreign(out: Path, folders: Sequence[str]) -> str | None:
    """Return the name of something that would be lost with the folder and never made again."""
    return next(
        (
            entry.name
            for entry in sorted(out.iterdir())
            if not (entry.name in folders if entry.is_dir() else entry.name.startswith(_FILES))
        ),
        None,
    )


def _publish(workplace: Path, out: Path) -> None:
    # Once more: the day took its time.
    _check_replaceable(out)
    old = workplace.with_name(workplace.name + "-old")
    if out.exists():
        _keep_what_is_not_ours(out, workplace)
        out.replace(old)
    os.replace(workplace, out)
    shutil.rmtree(old, ignore_errors=True)


def _keep_what_is_not_ours(out: Path, workplace: Path) -> None:
    for name in _KEPT:
        if (out / name).is_dir():
            shutil.copytree(out / name, workplace / name, dirs_exist_ok=True)
