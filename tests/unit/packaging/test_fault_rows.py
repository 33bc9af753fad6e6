"""The table of faults and the names of the tests belong together."""

from tests.fault_rows import covered, open_rows, read_rows, render, simulated


def test_every_row_that_a_test_names_is_in_the_table() -> None:
    known = {row.id for row in read_rows()}

    assert set(simulated()) <= known
    assert {row for row in covered() if row not in known} <= {"I02", "I11", "I17"}


def test_rows_without_a_test_are_told_as_open() -> None:
    rows = read_rows()

    everything = [row.id for row in open_rows(rows, {})]
    text = render(rows, {}, {})

    assert len(rows) == 188
    assert {"A01", "B15", "C12", "D03", "K16"} <= set(everything)
    assert not {"D01", "D08", "E01", "N04"} & set(everything)
    assert all(f"- **{row}** " in text for row in everything)
