"""Put a report on disk: all of its files, whole, or those that were there before."""

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterable
from pathlib import Path

from domain.errors import StorageError, remedy
from reports.model import EndOfDayReport, RollUp
from reports.render import FORMATS, render

DIRECTORY = "reports"


def report_directory(state: Path, report: EndOfDayReport | RollUp) -> Path:
    """Return where the files of a session, a week or a month lie."""
    if isinstance(report, RollUp):
        return state / DIRECTORY / report.name
    directory = state / DIRECTORY / report.session_date.isoformat()
    # One made from the broker alone knows less than a report that is there already.
    if report.is_from_broker and _revision(directory):
        return directory.with_name(f"{directory.name}-broker")
    return directory


def write(
    state: Path, report: EndOfDayReport | RollUp, formats: Iterable[str] = tuple(FORMATS)
) -> tuple[Path, ...]:
    """Render and write; each file is replaced at once.

    ``report.html`` is the newest revision of a session; one that it supersedes is kept, as
    ``report.1.html`` and so on.

    Raises:
        StorageError: the disk refused; the files are what they were.
        BadArgument: a format is not known; nothing was written.
    """
    # Everything is rendered before anything is touched.
    rendered = [(form, render(report, form)) for form in formats]
    # The document that names the revision stands for all of them, so it comes last.
    rendered.sort(key=lambda one: one[0] == "json")
    directory = report_directory(state, report)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(report, EndOfDayReport):
            _keep_superseded(directory, report.revision)
        return tuple(_replace(directory / f"report.{form}", text) for form, text in rendered)
    except OSError as exc:
        raise StorageError(f"{directory} could not be written ({exc}); {remedy(exc)}") from exc


def written_revision(state: Path, date: dt.date) -> int | None:
    """Return the revision of a session's report that lies there; None when there is none."""
    return _revision(state / DIRECTORY / date.isoformat())


def is_rolled_up(state: Path, name: str) -> bool:
    """Tell whether the report of a week or month lies there."""
    return (state / DIRECTORY / name / "report.json").exists()


def _keep_superseded(directory: Path, revision: int) -> None:
    """Give the files of an earlier revision a name of their own before they are replaced."""
    before = _revision(directory)
    if before is None or not before < revision:
        return
    for form in FORMATS:
        current, kept = directory / f"report.{form}", directory / f"report.{before}.{form}"
        if current.exists() and not kept.exists():
            os.link(current, kept)


def _revision(directory: Path) -> int | None:
    """Return the revision that lies there; 0 is one from the broker alone."""
    try:
        document = json.loads((directory / "report.json").read_text(encoding="utf-8"))
        return int(document["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
