"""The table of measurements."""

from bench.table import Row, render


def test_a_row_with_a_floor_shows_the_ratio() -> None:
    row = Row(
        name="start-up",
        ours=150,
        unit="ms",
        floor=100,
        floor_name="bare",
        command="x",
        target="<= 2",
    )

    assert row.cells() == ("start-up", "150 ms", "100 ms (bare)", "1.50", "<= 2", "x")


def test_a_row_without_a_floor_claims_no_ratio() -> None:
    assert Row(name="n", ours=0.1234, unit="s", command="x").cells()[1:5] == (
        "0.123 s",
        "-",
        "-",
        "-",
    )


def test_columns_line_up_in_the_rendered_table() -> None:
    rows = [Row(name=name, ours=1, unit="s", command="x") for name in ("a", "a longer name")]

    lines = render(rows).splitlines()

    assert len(lines) == 4
    assert {len(line) for line in lines} == {len(lines[0])}
