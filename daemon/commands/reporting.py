"""``report``: the reports again, from the database, or from the broker where there is none."""

import datetime as dt
from collections.abc import Sequence

from daemon import event_loop
from daemon.after_close.broker_report import report_from_broker
from daemon.after_close.report_dates import next_session, yardsticks, yardsticks_of
from daemon.after_close.reporting import digest, read_report, read_roll_up
from daemon.command_line import Options
from daemon.commands import arguments
from daemon.commands.output import console, print_json
from daemon.config import Config, load, state_directory
from daemon.session.broker_calendar import sessions_beside
from domain.clock import SystemClock
from domain.errors import BadArgument
from marketdata.session_calendar import NyseCalendar
from reports.document import document
from reports.model import EndOfDayReport, RollUp
from reports.render import FORMATS, headline
from reports.roll_up import MONTH, WEEK, period_of
from reports.write import write
from state.files import DATABASE, prepare_directory
from state.reader import Reader


def report(
    options: Options,
    *,
    date: str | None,
    formats: str,
    week: bool = False,
    month: bool = False,
    from_broker: bool = False,
) -> None:
    """Write the files again, the same bytes, and say where they are."""
    chosen = _formats(formats)
    if week + month + from_broker > 1:
        raise BadArgument("--week, --month, --from-broker: choose one of them")
    config, day = load(options.config), arguments.session_date(date)
    directory = state_directory(config)
    if from_broker or _is_lost(config):
        made: EndOfDayReport | RollUp = _from_broker(config, day)
        prepare_directory(directory)
    else:
        made = _from_database(config, day, kind=_kind(week=week, month=month))
    paths = write(directory, made, chosen)
    if options.json:
        print_json(document(made))
        return
    out = console()
    out.print(headline(made))
    for path in paths:
        out.print(str(path))


def _is_lost(config: Config) -> bool:
    """Tell whether there is a broker to ask, and no database; the embedded one lies beside it."""
    return config.broker.kind == "alpaca" and not (state_directory(config) / DATABASE).exists()


def _from_broker(config: Config, day: dt.date | None) -> EndOfDayReport:
    return event_loop.run(config, report_from_broker(config, day, calendar=NyseCalendar()), speed=1)


def _formats(formats: str) -> list[str]:
    chosen = [form.strip() for form in formats.split(",") if form.strip()]
    for form in chosen:
        if form not in FORMATS:
            raise BadArgument(f"--format {form}: unknown; choose from {', '.join(FORMATS)}")
    if not chosen:
        raise BadArgument(f"--format: names no format; choose from {', '.join(FORMATS)}")
    return list(dict.fromkeys(chosen))


def _require_some(kind: str, day: dt.date, known: Sequence[str]) -> None:
    name, first, _ = period_of(kind, day)
    if not any(first.isoformat() <= one <= day.isoformat() for one in known):
        raise BadArgument(
            f"--date {day}: {name} has no report until then; there are {known[0]} to {known[-1]}"
        )


def _kind(*, week: bool, month: bool) -> str | None:
    return WEEK if week else MONTH if month else None


def _from_database(
    config: Config, wanted: dt.date | None, *, kind: str | None
) -> EndOfDayReport | RollUp:
    directory = state_directory(config)
    with Reader(directory) as reader:
        issued = {row["session_date"]: row for row in reader.reports()}
    if not issued:
        raise BadArgument("no report was made yet; it is written after the close")
    known = sorted(issued)
    calendar = sessions_beside(NyseCalendar(), directory, SystemClock())
    sticks = yardsticks(config)
    if kind is not None:
        day = wanted or dt.date.fromisoformat(known[-1])
        _require_some(kind, day, known)
        return read_roll_up(directory, kind, day, calendar=calendar, yardsticks=sticks)
    on = wanted.isoformat() if wanted else known[-1]
    if on not in issued:
        raise BadArgument(f"--date {on}: no report; there are {known[0]} to {known[-1]}")
    day = dt.date.fromisoformat(on)
    session = calendar.session_on(day)
    if session is None:
        raise BadArgument(f"--date {on}: the exchange was closed")
    following, row = next_session(calendar, session), issued[on]
    sticks = yardsticks_of(directory, day, sticks)
    made = read_report(directory, day, following, row["revision"], yardsticks=sticks)
    if digest(made) == row["digest"]:
        return made
    # Changed since it was issued: the next revision, as the daemon will number it.
    return read_report(directory, day, following, row["revision"] + 1, yardsticks=sticks)
