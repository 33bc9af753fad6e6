"""The kill switch: latch, cancel, flatten if asked, lock at the broker, verify.

Works with the daemon dead and the database locked or gone: it needs the broker and the
latch file, nothing else.  The latch remembers what was wanted until it is verified, so a
kill that is cut off anywhere is completed by whoever starts next.
"""

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import StateError
from execution.cancel_all import Tell
from execution.kill_report import KillReport, KillSettings, Proof
from execution.kill_stages import KillStages
from state.latch import Latch
from state.latch_record import KillAction, stronger

__all__ = ["KillReport", "KillSettings", "Proof", "complete_pending_kill", "kill"]


async def kill(
    broker: Broker,
    latch: Latch,
    *,
    flatten: bool,
    reason: str,
    clock: Clock,
    tell: Tell,
    settings: KillSettings | None = None,
) -> KillReport:
    """Stop everything and prove it.

    Args:
        broker: used for reads, cancels and closing orders.
        latch: engaged first; what cannot be written is reported, and the rest goes on.
        flatten: also close every position.
        reason: kept in the latch.
        clock: pauses and the elapsed time.
        tell: takes one line per stage, for the operator.
        settings: deadlines.
    """
    action = KillAction.FLATTEN if flatten else KillAction.CANCEL
    stages = KillStages(broker, latch, clock, tell, settings or KillSettings())
    problems: list[str] = []
    try:
        latch.engage(reason, clock.now(), pending=action)
        tell("latched: no new order leaves")
    except (StateError, OSError) as exc:
        # The broker side still works, and is worth more than the file.
        problems.append(f"the latch could not be written: {exc}")
        tell(problems[-1])
    return await stages.run(action, problems)


async def complete_pending_kill(
    broker: Broker,
    latch: Latch,
    *,
    clock: Clock,
    tell: Tell,
    wanted: KillAction | None = None,
    settings: KillSettings | None = None,
) -> KillReport | None:
    """Finish a kill that was engaged but never verified; None when there is none.

    Args:
        broker: used for reads, cancels and closing orders.
        latch: says what is pending.
        clock: pauses and the elapsed time.
        tell: takes one line per stage, for the operator.
        wanted: done also where the latch says nothing of it: a disk that refused may have
            left it without.
        settings: deadlines.
    """
    state = latch.read()
    action = stronger(state.pending if state.is_engaged else None, wanted)
    if action is None:
        return None
    if state.pending is KillAction.CANCEL and state.asked is KillAction.FLATTEN:
        # Nobody asked for a cancel: it would take the closing orders that a person wants too.
        action = KillAction.FLATTEN
    tell(f"completing the kill of {state.at}: {state.reason}")
    stages = KillStages(broker, latch, clock, tell, settings or KillSettings())
    return await stages.run(action)
