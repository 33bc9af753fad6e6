"""``backup`` and ``restore``: a copy that was opened once, and the way back."""

from pathlib import Path

from daemon.after_close.nightly import backup_folder
from daemon.command_line import Options
from daemon.commands.output import console, print_json
from daemon.config import load, state_directory
from domain.clock import SystemClock
from domain.errors import BadArgument, StateError
from state.backup import accept_rollback
from state.backup import restore as put_back
from state.backup_folder import DIRECTORY, last_event, newest, note_tested
from state.files import DATABASE
from state.rehearsal import back_up_and_rehearse


def backup(options: Options, *, out: Path | None) -> None:
    """Copy the database beside a running daemon or without one, and restore the copy on trial.

    Raises:
        BadArgument: the file is there already.
        StateError: there is no database, or the copy does not restore.
        StorageError: the disk refused.
    """
    directory, clock = state_directory(load(options.config)), SystemClock()
    if not (directory / DATABASE).exists():
        raise StateError(f"{directory / DATABASE}: nothing to back up; start openbell run once")
    target = out or backup_folder(directory) / f"{clock.now():%Y-%m-%dT%H%M%S}.db"
    if target.exists():
        raise BadArgument(f"{target} exists already; name another with --out")
    made = back_up_and_rehearse(directory, target, clock=clock)
    note_tested(directory / DIRECTORY, clock.now())
    if options.json:
        print_json({"backup": str(target), "events": made.head.sequence, "rows": made.rows})
        return
    console().print(
        f"{target}: {made.head.sequence} events, {made.rows['orders']} orders,"
        f" {made.rows['fills']} fills; restored on trial and equal",
        soft_wrap=True,
    )


def restore(
    options: Options, *, path: Path | None, reason: str, is_rollback_accepted: bool
) -> None:
    """Put a backup in the place of the database, with the latch engaged.

    Raises:
        BadArgument: there is no such backup.
        StateError: it does not verify, or a daemon is running.
        StorageError: the disk refused.
    """
    directory, clock = state_directory(load(options.config)), SystemClock()
    if is_rollback_accepted:
        if path is not None:
            raise BadArgument("--accept-rollback keeps the database that is there: name no backup")
        accept_rollback(directory, clock=clock, reason=reason)
        used = directory / DATABASE
    else:
        used = path or _newest(directory)
        if not used.is_file():
            raise BadArgument(f"{used} is no file; backups are in {backup_folder(directory)}")
        put_back(used, directory, clock=clock, reason=reason)
    at, number = last_event(directory / DATABASE) or ("", 0)
    if options.json:
        told = {"database": str(used), "last_event": number, "last_event_at": at}
        print_json({**told, "kill": {"engaged": True, "reason": reason}})
        return
    for line in (
        f"{'Kept' if is_rollback_accepted else 'Restored'} {used}; the kill latch is engaged.",
        f"It ends with event {number}, of {at}.",
        "What happened since is known to the broker only; limits on losses go by what was then.",
        "Now:",
        "  openbell reconcile            compares, and books what is missing",
        "  openbell resume --reason TEXT --confirm LAST4",
    ):
        console().print(line, soft_wrap=True)


def _newest(directory: Path) -> Path:
    folder = backup_folder(directory)
    found = newest(folder)
    if found is None:
        raise BadArgument(f"{folder} holds no backup; name one")
    return found
