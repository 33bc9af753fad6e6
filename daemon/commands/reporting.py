"""``report``: the end-of-day report again, from the database alone."""

from daemon.command_line import Options
from daemon.commands import arguments
from daemon.commands.output import console, print_json
from daemon.config import load, state_directory
from daemon.reporting import next_session, read_report
from domain.errors import BadArgument
from marketdata.session_calendar import NyseCalendar
from reports.document import document
from reports.render import FORMATS, headline
from reports.write import write
from state.reader import Reader


def report(options: Options, *, date: str | None, formats: str) -> None:
    """Write the files again, the same bytes, and say where they are."""
    wanted = arguments.session_date(date)
    chosen = [form.strip() for form in formats.split(",") if form.strip()]
    for form in chosen:
        if form not in FORMATS:
            raise BadArgument(f"--format {form}: unknown; choose from {', '.join(FORMATS)}")
    directory = state_directory(load(options.config))
    with Reader(directory) as reader:
        issued = reader.reports()
    known = [row["session_date"] for row in issued]
    if not known:
        raise BadArgument("no report was made yet; it is written after the close")
    on = wanted.isoformat() if wanted else known[0]
    if on not in known:
        raise BadArgument(f"--date {on}: no report; there are {known[-1]} to {known[0]}")
    row = issued[known.index(on)]
    calendar = NyseCalendar()
    day = arguments.session_date(on)
    session = calendar.session_on(day) if day else None
    if day is None or session is None:
        raise BadArgument(f"--date {on}: the exchange was closed")
    made = read_report(directory, day, next_session(calendar, session), row["revision"])
    paths = write(directory, made, chosen)
    if options.json:
        print_json(document(made))
        return
    out = console()
    out.print(headline(made))
    for path in paths:
        out.print(str(path))
