"""Resume: a person at the machine releases the latch, and every doubt keeps it engaged."""

import contextlib
from collections.abc import Awaitable, Callable

from brokers.base import Broker
from domain.clock import Clock
from domain.errors import BrokerError, OrderRejected, StateError
from execution.account_switches import allow_shorting
from execution.desk import Desk
from execution.reconcile import Reconciler
from state.latch import Latch
from state.latch_record import KillAction, LatchState
from state.locks import LIMIT_LOCK

CONFIRM_LENGTH = 4

Check = Callable[[], Awaitable[None]]
"""Raises StateError while the books do not agree with the broker."""


async def resume(
    broker: Broker,
    latch: Latch,
    *,
    clock: Clock,
    reason: str,
    confirm: str,
    expected_sequence: int,
    check: Check,
    row: LatchState | None = None,
) -> LatchState:
    """Release the broker-side lock and the latch, and allow short sales that a kill forbade.

    Args:
        broker: for the account number and the lock.
        latch: what is released.
        clock: the moment of the release.
        reason: why it is safe to go on; kept in the latch.
        confirm: last four characters of the account number, typed by a person.
        expected_sequence: the latch as that person saw it; any change since refuses.
        check: the comparison with the broker that must pass, such as ``books_agree``.
        row: the latch as the database remembers it, which the release has to follow.

    Raises:
        StateError: not confirmed, not reconciled, a kill not completed, or the latch
            changed; it stays engaged.
        BrokerUnavailable, BrokerError: the broker could not be read or unlocked; it stays
            engaged.
    """
    account = await broker.account()
    _check_words(reason, confirm, account.account_number)
    _check_latch(latch.read(), expected_sequence)
    await check()
    _check_latch(latch.read(), expected_sequence)
    is_banned = latch.read().is_shorting_forbidden
    if is_banned:
        await allow_shorting(broker)
    if account.is_suspended_by_user:
        await _unlock(broker)
    try:
        return latch.release(
            reason,
            clock.now(),
            expected_sequence=expected_sequence,
            above=row.sequence if row is not None else 0,
        )
    except StateError:
        if is_banned:
            # A kill that came meanwhile may have found the ban in force, and relies on it.
            with contextlib.suppress(Exception):
                await broker.set_shorting_forbidden(is_forbidden=True)
        raise


def books_agree(desk: Desk, reconciler: Reconciler) -> Check:
    """Return the check of a process that holds the store: compare once more, now."""

    async def check() -> None:
        report = await reconciler.run("resume", is_deep=True)
        if report.is_list_doubtful:
            raise StateError(
                "the broker lists no position, yet its equity holds shares; resume when it does"
            )
        # A holding that is too large agrees all the same, and only orders can make it smaller.
        locks = {
            symbol: why
            for symbol, why in desk.ledger.locks().items()
            if not why.startswith(LIMIT_LOCK)
        }
        if report.is_equal and not locks:
            return
        names = ", ".join(sorted(locks)) or "orders"
        raise StateError(
            f"{names} do not agree with the broker: run `openbell reconcile`, adopt what is"
            " right with --adopt, then resume again"
        )

    return check


def _check_words(reason: str, confirm: str, account_number: str) -> None:
    if not reason.strip():
        raise StateError("resume needs a reason: pass --reason with what was checked")
    if len(confirm) != CONFIRM_LENGTH or not account_number.endswith(confirm):
        raise StateError(
            "--confirm is not the last four characters of the account number at the broker;"
            " check that this is the account you mean"
        )


def _check_latch(state: LatchState, expected_sequence: int) -> None:
    if state.sequence != expected_sequence:
        raise StateError(
            f"the latch changed meanwhile ({state.reason}); read `openbell status` and resume again"
        )
    if state.pending is not None:
        command = "`openbell kill`"
        if state.pending is KillAction.FLATTEN:
            command = f"`openbell kill --flatten`, or {command} to keep what is held,"
        raise StateError(
            f"the kill ({state.pending.value}) is not completed at the broker; run {command}"
            " until it is verified, then resume"
        )


async def _unlock(broker: Broker) -> None:
    try:
        is_locked = await broker.set_suspended(is_suspended=False)
    except OrderRejected:
        # The account has no such lock, so nothing is locked there.
        return
    if is_locked:
        raise BrokerError("the broker's lock on new orders is still set; resume again")
