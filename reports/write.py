"""Put a report on disk: all of its files, whole, or those that were there before."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from domain.errors import StorageError
from reports.model import EndOfDayReport
from reports.render import FORMATS, render

DIRECTORY = "reports"


def report_directory(state: Path, report: EndOfDayReport) -> Path:
    """Return where the files of a session lie."""
    return state / DIRECTORY / report.session_date.isoformat()


def write(
    state: Path, report: EndOfDayReport, formats: Iterable[str] = tuple(FORMATS)
) -> tuple[Path, ...]:
    """Render and write; each file is replaced at once.

    Raises:
        StorageError: the disk refused; the files are what they were.
        BadArgument: a format is not known; nothing was written.
    """
    # Everything is rendered before anything is touched.
    rendered = [(form, render(report, form)) for form in formats]
    directory = report_directory(state, report)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tuple(_replace(directory / f"report.{form}", text) for form, text in rendered)
    except OSError as exc:
        raise StorageError(f"{directory} could not be written ({exc}); free the disk") from exc


def _replace(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return path
