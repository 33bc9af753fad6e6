"""What a kill may take, and what it proved."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

from execution.cancel_all import Patience


@unique
class Proof(StrEnum):
    """What was seen at the broker at the end."""

    CANCELED = "CANCELED"  # no open order
    FLAT = "FLAT"  # no open order, no position
    QUEUED_FOR_OPEN = "QUEUED FOR OPEN"  # every position has its closing order, market closed
    NOT_FLAT = "NOT FLAT"
    NOT_CANCELED = "NOT CANCELED"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSettings:
    """Deadlines, in seconds from the start of the kill.

    Of them the cancels before a flatten may take ``cancel_share``, and asking the broker
    to forbid short sales at most ``ban_share``.
    """

    deadline_seconds: float = 60.0
    cancel_share: float = 0.5
    ban_share: float = 0.2
    patience: Patience = dataclasses.field(default_factory=Patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReport:
    """The end of a kill.  A count is None where the broker could not be read."""

    latched: bool
    open_orders: int | None
    positions: int | None
    verified: bool
    elapsed_seconds: float
    proof: Proof
    suspended: bool | None
    problems: tuple[str, ...]

    @property
    def shortfall(self) -> str:
        """What keeps it from being verified, and the next step."""
        problems = "; ".join(self.problems) or self.proof.value
        if "openbell kill" in problems:
            return f"not verified: {problems}"
        is_plain = self.proof in {Proof.CANCELED, Proof.NOT_CANCELED}
        command = "openbell kill" if is_plain else "openbell kill --flatten"
        return f"not verified: {problems}; run `{command}`"

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "proof": self.proof.value,
            "problems": list(self.problems),
        }
