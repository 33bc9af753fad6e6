"""A look at the database that changes nothing, beside a running daemon or without one."""

from dataclasses import dataclass
from pathlib import Path

from domain.errors import StateError
from state.checks import check_database
from state.database import connect_read_only, translated
from state.files import DATABASE
from state.migrations import LATEST, version
from state.opening import check_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in a database that is sound."""

    schema: int
    events: int
    account: str | None


def inspect(directory: Path) -> Inspection | None:
    """Check files, pages, chain, mark and derived tables; None when there is no database yet.

    Raises:
        StateError: it is damaged, lost, cannot be read, is not ours, or has another schema.
    """
    path = directory / DATABASE
    # Read first: a running daemon moves the mark after its commits, never before.
    mark = check_files(directory)
    if not path.exists():
        return None
    with translated(path):
        connection = connect_read_only(path)
        try:
            connection.execute("BEGIN")
            schema = version(connection)
            if schema != LATEST:
                raise StateError(
                    f"{path} has schema {schema} and this openbell knows {LATEST}: "
                    + ("start openbell run once" if schema < LATEST else "install the newer one")
                )
            head = check_database(connection, path, mark)
            account = connection.execute("SELECT account FROM writer").fetchone()[0]
        finally:
            connection.close()
    return Inspection(schema=schema, events=head.sequence, account=account)
