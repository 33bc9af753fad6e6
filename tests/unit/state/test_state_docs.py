import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from state.files import DATABASE
from state.projection import EVENT_KINDS
from tests.support.state_builders import open_store

DOCS = (Path(__file__).parents[3] / "docs" / "state.md").read_text()
SECTIONS = {
    name: body.split("\n## ")[0]
    for name, body in re.findall(r"^### `(\w+)`(.*?)(?=^### |\Z)", DOCS, re.DOTALL | re.MULTILINE)
}
QUERIES = re.findall(r"```sql\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture
def connection(directory: Path) -> Iterator[sqlite3.Connection]:
    open_store(directory).close()
    opened = sqlite3.connect(directory / DATABASE)
    yield opened
    opened.close()


def test_every_table_and_column_is_described(connection: sqlite3.Connection) -> None:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%'"
    ).fetchall()

    assert {name for (name,) in tables} == set(SECTIONS)
    for (table,) in tables:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        described = {
            name
            for line in SECTIONS[table].splitlines()
            if line.startswith("| `")
            for name in re.findall(r"`(\w+)`", line.split(" | ")[0])
        }
        assert described == columns, table


def test_every_kind_of_event_is_named() -> None:
    for kind in EVENT_KINDS:
        assert f"`{kind}`" in DOCS, kind


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_every_example_query_runs(connection: sqlite3.Connection, query: str) -> None:
    connection.execute(query).fetchall()


def test_there_are_example_queries() -> None:
    assert len(QUERIES) >= 5
