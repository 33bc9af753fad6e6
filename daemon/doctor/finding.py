"""What a check found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Status(StrEnum):
    """How a check ended; a warning does not stop the daemon."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor: what was looked at, what was seen, what to do about it.

    ``exit_code`` is what the command ends with when this failed.
    """

    name: str
    status: Status
    text: str
    fix: str = ""
    exit_code: int = 0

    def as_json(self) -> dict[str, str]:
        """Return the public form."""
        return {"name": self.name, "status": self.status.value, "text": self.text, "fix": self.fix}


FAILED, UNAVAILABLE, REFUSED = 1, 75, 78
# What refuses to start outweighs what may come back by itself.
_WORST_FIRST = (REFUSED, UNAVAILABLE, FAILED)


def ok(name: str, text: str) -> Finding:
    """Return a check that passed."""
    return Finding(name=name, status=Status.OK, text=text)


def warning(name: str, text: str, *, fix: str) -> Finding:
    """Return a check that found something the daemon lives with."""
    return Finding(name=name, status=Status.WARNING, text=text, fix=fix)


def failed(name: str, text: str, *, fix: str, exit_code: int = FAILED) -> Finding:
    """Return a check that found what must be repaired."""
    return Finding(name=name, status=Status.FAILED, text=text, fix=fix, exit_code=exit_code)


def refused(name: str, sentence: str) -> Finding:
    """Return a failure told by one of our errors, which name the next step after a colon."""
    text, fix = _split(sentence)
    return failed(name, text, fix=fix, exit_code=REFUSED)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the command's exit status."""
    codes = {finding.exit_code for finding in findings if finding.status is Status.FAILED}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def _split(sentence: str) -> tuple[str, str]:
    for mark in ("; ", ": "):
        text, found, fix = sentence.rpartition(mark)
        if found:
            return text, fix
    return sentence, sentence
