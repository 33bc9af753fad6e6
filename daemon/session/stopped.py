"""What a stop closed in a session: a plan that was made before does not open it again."""

from collections.abc import Mapping

from domain.ids import Symbol
from domain.market import Session
from risk.stops import WATCH_RUN
from state.journal import Journal


def stop_run(session: Session) -> str:
    """Return the run that the exits of a session's stops are planned by."""
    return f"{session.date}-{WATCH_RUN}"


def closed_by_stop(journal: Journal, session: Session) -> Mapping[Symbol, str]:
    """Return the symbols that reached their stop, with the words for an entry that is denied.

    By the journal, also over a restart; and whatever became of the exit.
    """
    orders, run_id = journal.of_session(session.date), stop_run(session)
    return {
        record.symbol: "it reached its stop in this session"
        for record in orders
        if record.run_id == run_id
    }
