"""The demo's workplace: a directory that appears whole, or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from domain.errors import StateError
from state.files import DATABASE

_PREFIX = ".openbell-demo-"
_EMBEDDED_ACCOUNT = "paper"


@contextlib.contextmanager
def stage(out: Path) -> Iterator[Path]:
    """Work beside ``out``; put everything in its place only when the block ends well.

    Raises:
        StateError: ``out`` holds the state of a real account.
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
    except OSError as exc:
        raise StateError(f"{out}: cannot be read ({exc}); choose another with --out") from exc
    if has_books and not is_embedded:
        raise StateError(f"{out} holds the state of a real account; choose another with --out")


def _publish(workplace: Path, out: Path) -> None:
    old = workplace.with_name(workplace.name + "-old")
    if out.exists():
        _keep_what_is_not_ours(out, workplace)
        out.replace(old)
    os.replace(workplace, out)
    shutil.rmtree(old, ignore_errors=True)


def _keep_what_is_not_ours(out: Path, workplace: Path) -> None:
    models = out / "models"
    if models.is_dir():
        shutil.copytree(models, workplace / "models", dirs_exist_ok=True)
