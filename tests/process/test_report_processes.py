"""The report without the database: the state directory is gone, the broker is not."""

import json
import shutil
from collections.abc import Callable
from decimal import Decimal

from tests.support.processes import World

Open = Callable[..., World]


def test_a_report_is_made_from_the_broker_when_the_state_is_gone(open_world: Open) -> None:
    world = open_world(start="2022-11-14T09:31:00", speed=1)
    daemon = world.daemon()
    world.wait_until_filled(4)
    world.wait_for_agreement()
    with world.reader() as reader:
        booked = sorted((row["symbol"], row["quantity"], row["price"]) for row in reader.fills())
    assert daemon.terminate() == 0
    shutil.rmtree(world.state)

    done = world.openbell("--json", "report")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["source"] == "broker"
    assert report["session_date"] == "2022-11-14"
    assert (report["equity_start"], report["residual"]) == ("100000", "0.00")
    assert (
        sorted((row["symbol"], row["quantity"], row["price"]) for row in report["fills"]) == booked
    )
    # Bought today and all held: what it is worth less what was paid.
    paid = sum(Decimal(quantity) * Decimal(price) for _, quantity, price in booked)
    worth = sum(Decimal(row["market_value"]) for row in report["by_symbol"])
    assert Decimal(report["equity_end"]) == 100_000 + worth - paid
    assert report["reconciled"] is False
    assert report["provisional"] is True
    assert any("does not know our decisions" in told for told in report["unknown"])
    folder = world.state / "reports" / "2022-11-14"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"report.{form}" for form in ("csv", "html", "json", "md")
    ]
    assert "Made from the broker alone" in (folder / "report.html").read_text()

    other_day = world.openbell("report", "--from-broker", "--date", "2022-11-11")
    assert other_day.returncode == 64
    assert "its last session only, 2022-11-14" in other_day.stderr
