"""What the latch file says, and how it is written: one JSON line with a checksum.

Every way to read it wrongly ends in "engaged".
"""

import datetime as dt
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import sha256
from pathlib import Path

from domain.reasons import one_line

VERSION = 1
_MAX_BYTES = 64 * 1024
# Escaped, this many characters of reason still fit into the reserve.
_REASON_CHARACTERS = 500


@unique
class KillAction(StrEnum):
    """Work at the broker that an engaged latch still asks for."""

    CANCEL = "cancel"
    FLATTEN = "flatten"  # cancel, and close every position


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchState:
    """What the latch says; ``sequence`` rises with every change, 0 when nothing was readable.

    ``pending`` is what a kill wanted and nobody has seen completed yet; ``asked`` what the
    newest one of a person wanted, None where there was none or an earlier version wrote it;
    ``is_broker_locked`` that a kill saw the broker's own lock on new orders set;
    ``is_shorting_forbidden`` that a kill forbade short sales at the broker, where they were
    allowed before; ``closings`` how often a kill began to close positions;
    ``closing_written_at`` when, by the broker's clock, one last wrote a closing order whose
    twin the broker may take as well.
    """

    is_engaged: bool
    reason: str
    at: dt.datetime | None
    sequence: int
    pending: KillAction | None = None
    asked: KillAction | None = None
    is_broker_locked: bool = False
    is_shorting_forbidden: bool = False
    closings: int = 0
    closing_written_at: dt.datetime | None = None

    @property
    def is_closing_wanted(self) -> bool:
        """Tell whether positions are to be closed: by a person's last kill, or one not yet done."""
        if not self.is_engaged or self.pending is KillAction.FLATTEN:
            return self.is_engaged
        return self.asked is KillAction.FLATTEN if self.asked else self.closings > 0


def read_record(path: Path) -> LatchState:
    """Read a latch file; never raises: what cannot be read is engaged."""
    try:
        with path.open("rb") as file:
            line = file.read(_MAX_BYTES)
        return _decode(line)
    except FileNotFoundError:
        return _doubtful(f"{path} is missing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        return _doubtful(f"{path} cannot be read: {exc}")


def stronger(one: KillAction | None, other: KillAction | None) -> KillAction | None:
    """Return which of two kinds of pending work includes the other."""
    if KillAction.FLATTEN in {one, other}:
        return KillAction.FLATTEN
    return one or other


def _doubtful(reason: str) -> LatchState:
    return LatchState(is_engaged=True, reason=one_line(reason), at=None, sequence=0)


def encode(state: LatchState) -> bytes:
    """Return the line that says this."""
    record: dict[str, object] = {
        "version": VERSION,
        "state": "engaged" if state.is_engaged else "armed",
        "sequence": state.sequence,
        "reason": state.reason[:_REASON_CHARACTERS],
        "at": _iso(state.at),
        "pending": state.pending.value if state.pending else None,
        "asked": state.asked.value if state.asked else None,
        "is_broker_locked": state.is_broker_locked,
        "is_shorting_forbidden": state.is_shorting_forbidden,
        "closings": state.closings,
        "closing_written_at": _iso(state.closing_written_at),
    }
    record["checksum"] = _checksum(record)
    return json.dumps(record, sort_keys=True).encode() + b"\n"


@functools.lru_cache(maxsize=2)
def _decode(line: bytes) -> LatchState:
    # A record in the reserve is followed by what was there before it.
    record = json.loads(line.split(b"\n", 1)[0])
    checksum = record.pop("checksum")
    if record["version"] != VERSION or checksum != _checksum(record):
        raise ValueError("its checksum or version is wrong")
    if record["state"] not in {"engaged", "armed"}:
        raise ValueError("its state is neither engaged nor armed")
    return LatchState(
        is_engaged=record["state"] != "armed",
        # Whoever wrote it: what the event log cannot take would end every start.
        reason=one_line(str(record["reason"])),
        at=_moment(record["at"]),
        sequence=int(record["sequence"]),
        pending=KillAction(record["pending"]) if record.get("pending") else None,
        is_broker_locked=record.get("is_broker_locked") is True,
        # Absent in files of earlier versions.
        asked=KillAction(record["asked"]) if record.get("asked") else None,
        is_shorting_forbidden=record.get("is_shorting_forbidden") is True,
        closings=int(record.get("closings", 0)),
        closing_written_at=_moment(record.get("closing_written_at")),
    )


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None


def _checksum(record: Mapping[str, object]) -> str:
    return sha256(json.dumps(dict(record), sort_keys=True).encode()).hexdigest()
