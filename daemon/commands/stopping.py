"""``kill``, ``resume``, ``pause``: what a person stops and starts trading with."""

import datetime as dt
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from daemon import event_loop
from daemon.command_line import EXIT_NOT_VERIFIED, Options, lose
from daemon.commands.output import console, print_json
from daemon.config import Config, load, state_directory
from daemon.config_for_kill import KillConfig, read_for_kill
from daemon.connection import connect
from daemon.log_setup import SINK
from domain.clock import SystemClock
from domain.errors import OpenbellError, StateError
from domain.reasons import NO_REASON
from domain.trading_state import TradingState
from execution.kill import KillReport, Proof
from execution.kill import kill as kill_everything
from state.latch import Latch
from state.latch_record import KillAction, LatchState
from state.pause import Pause

# Where nothing can be written: a latch that nobody would look for must not be one.
_NOWHERE = Path(os.devnull) / "state"


def kill(options: Options, *, flatten: bool, as_before: bool, reason: str) -> int:
    """Stop everything; return the exit status.

    ``as_before`` is for whoever was told by nobody what to do, such as a service manager: it
    flattens where a person did, and leaves the closing orders that wait for the open.

    Whether anybody listens does not matter: a terminal that hangs up, a pipe whose reader is
    gone and a log on a full disk stop nothing here.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    found = read_for_kill(options.config)
    latch = _latch(found)
    others = [Latch(found.also)] if found.also is not None else []
    reason = reason or NO_REASON
    before = latch.read()
    had_flatten = any(one.read().is_closing_wanted for one in (latch, *others))
    flatten = flatten or (as_before and had_flatten)
    action = KillAction.FLATTEN if flatten else KillAction.CANCEL
    for one in (latch, *others) if found.directory is not None else ():
        # Before the broker is even looked for: from here on no order leaves.
        _engage(one, reason, action)
    # A halt left nothing to be done at the broker; a kill does, until it is verified.  What no
    # disk takes down cannot tell a first try from the next.
    is_noted = before.pending is None and latch.read().pending is not None
    is_first = not before.is_engaged or is_noted
    for line in found.notes:
        SINK.write(f"openbell: {line}\n")
    report = _stopped(found, latch, flatten=flatten, reason=reason)
    for one in others:
        _complete(one, report)
    try:
        show(report, options, flatten=flatten, had_flatten=had_flatten)
        sys.stdout.flush()
    except OSError:
        lose(sys.stdout)
    # Of its own accord nobody looks; tried every few seconds, it is told at first and at its end.
    if as_before and (report.verified or is_first):
        _tell(found.config, report, reason)
    return 0 if report.verified else EXIT_NOT_VERIFIED


def _tell(config: Config, report: KillReport, reason: str) -> None:
    """Tell people of a kill that no person typed: with the daemon dead nothing else does."""
    if config.alerts.urls:
        from daemon.telemetry.last_word import last_word

        verified = "verified" if report.verified else "NOT VERIFIED, and tried again"
        held = "unknown" if report.positions is None else report.positions
        text = f"{reason}; {report.proof.value}, {verified}; positions: {held}"
        last_word(config.alerts.urls, "kill.engaged", text)


class _PendingLatch(Latch):
    """Of a kill that cannot be verified: its work stays pending, and the next start does it."""

    def complete(
        self, action: KillAction, at: dt.datetime, *, is_broker_locked: bool = False
    ) -> LatchState:
        """Note nothing."""
        return self.read()


def _latch(found: KillConfig) -> Latch:
    if found.directory is None:
        return Latch(_NOWHERE)
    return _PendingLatch(found.directory) if found.doubts else Latch(found.directory)


def _stopped(found: KillConfig, latch: Latch, *, flatten: bool, reason: str) -> KillReport:
    if not found.is_broker_known:
        return _unreachable(latch, *found.doubts)
    try:
        report = event_loop.run(
            found.config, _kill(found.config, latch, flatten=flatten, reason=reason), speed=1
        )
    except OpenbellError as exc:
        return _unreachable(latch, *found.doubts, str(exc))
    if not found.doubts:
        return report
    return replace(report, verified=False, problems=(*found.doubts, *report.problems))


def _engage(latch: Latch, reason: str, action: KillAction) -> None:
    try:
        latch.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        latch.engage(reason, SystemClock().now(), pending=action)
    except (OpenbellError, OSError) as exc:
        SINK.write(f"openbell: {exc}\n")


def _complete(latch: Latch, report: KillReport) -> None:
    """Note in the latch of other books of the account what was seen done in it."""
    if not report.verified:
        return
    done = KillAction.CANCEL if report.proof is Proof.CANCELED else KillAction.FLATTEN
    try:
        latch.complete(done, SystemClock().now(), is_broker_locked=report.suspended is True)
    except (OpenbellError, OSError) as exc:
        SINK.write(f"openbell: {exc}\n")


async def _kill(config: Config, latch: Latch, *, flatten: bool, reason: str) -> KillReport:
    async with connect(config, is_urgent=True) as connection:
        return await kill_everything(
            connection.broker,
            latch,
            flatten=flatten,
            reason=reason,
            clock=connection.clock,
            tell=_say,
        )


def _say(line: str) -> None:
    SINK.write(f"  {line}\n")


def _unreachable(latch: Latch, *problems: str) -> KillReport:
    return KillReport(
        latched=latch.holds(),
        open_orders=None,
        positions=None,
        verified=False,
        elapsed_seconds=0.0,
        proof=Proof.NOT_CANCELED,
        suspended=None,
        problems=problems,
    )


def show(report: KillReport, options: Options, *, flatten: bool, had_flatten: bool) -> None:
    """Print how a kill ended, and what to type next.

    Args:
        report: the end of it.
        options: JSON or words.
        flatten: it was to close positions.
        had_flatten: until then positions were to be closed.
    """
    if options.json:
        print_json(report.as_json())
        return
    for problem in report.problems:
        SINK.write(f"openbell: {problem}\n")
    out = console()
    orders = "unknown" if report.open_orders is None else report.open_orders
    positions = "unknown" if report.positions is None else report.positions
    out.print(f"{report.proof.value}")
    out.print(
        f"latched: {'yes' if report.latched else 'NO'}   open orders: {orders}   "
        f"positions: {positions}   verified: {'yes' if report.verified else 'NO'}   "
        f"{report.elapsed_seconds:.1f} s"
    )
    if report.verified:
        if report.positions and had_flatten and report.proof is Proof.CANCELED:
            out.print(
                "The earlier `openbell kill --flatten` is taken back with its closing orders:"
                " type it again to close."
            )
        out.print("Trading stays stopped until: openbell resume --reason TEXT --confirm LAST4")
    else:
        # A plain one would cancel the closing orders too.
        is_closing = flatten or report.proof is Proof.NOT_FLAT
        command = "openbell kill --flatten" if is_closing else "openbell kill"
        out.print(f"Not verified: run `{command}` again, or cancel on the broker's web page.")


def resume(options: Options, *, reason: str, confirm: str) -> None:
    """Release the latch after a look at the broker."""
    config = load(options.config)
    event_loop.run(config, _resume(config, reason=reason, confirm=confirm), speed=1)
    if options.json:
        print_json({"kill": {"engaged": False, "reason": reason}})
    else:
        console().print("Released: the daemon may send orders again.")


async def _resume(config: Config, *, reason: str, confirm: str) -> None:
    # Not above: the kill switch starts without all this.
    from daemon.books import open_books
    from execution.orders import OrderPath
    from execution.reconcile import Reconciler
    from execution.resume import books_agree
    from execution.resume import resume as resume_trading
    from state.store import Store

    latch = Latch(state_directory(config))
    # What the person saw when typing: a kill that comes after this wins.
    seen = latch.read()
    async with connect(config, is_urgent=True) as connection:
        store = Store.open(state_directory(config), clock=connection.clock)
        try:
            desk = await open_books(config, connection, store)
            reconciler = Reconciler(desk, OrderPath(desk))
            await resume_trading(
                connection.broker,
                latch,
                clock=connection.clock,
                reason=reason,
                confirm=confirm,
                expected_sequence=seen.sequence,
                check=books_agree(desk, reconciler),
                row=store.latch_row(),
            )
            _require_released(store.sync_latch(latch))
        finally:
            store.close()


def _require_released(state: LatchState) -> None:
    if state.is_engaged:
        raise StateError(
            f"released, and engaged again at once ({state.reason}); trading stays stopped: read"
            " `openbell status`, then resume again"
        )


def pause(options: Options, *, is_paused: bool, reason: str) -> None:
    """Set or clear the pause marker; a running daemon sees it before its next order."""
    marker = Pause(state_directory(load(options.config)))
    if is_paused:
        marker.set(reason)
    else:
        marker.clear()
    if options.json:
        print_json({"paused": marker.reason is not None, "reason": marker.reason})
    else:
        told = "Entries are paused; exits still work." if is_paused else _unpaused(marker)
        console().print(told)


def _unpaused(marker: Pause) -> str:
    """Who ended a pause must not take a latch or a limit for ended with it."""
    # A kill needs none of it, and is the quicker without.
    from state.reader import Reader

    try:
        with Reader(marker.path.parent) as reader:
            now = reader.status()
    except StateError:
        return "The pause is ended; the state could not be read, see openbell status."
    if now["trading_state"] == TradingState.ACTIVE:
        return "Entries are allowed."
    why = now["kill"]["reason"] or now["trading_state_reason"]
    return f"The pause is ended; entries stay blocked, {now['trading_state']}: {why}"
