"""Bars from Parquet files, with the real pyarrow.

It is 170 MB and changes how pandas works wherever it is installed, so it is not among the
packages of the suite: this test installs it aside.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
import asyncio, datetime as dt, sys
from pathlib import Path
import pandas as pd
from domain.clock import ManualClock, UTC
from domain.errors import DataError
from domain.ids import Symbol
from marketdata.csv_files import FileBars
from marketdata.session_calendar import NyseCalendar

root, acme = Path(sys.argv[1]), Symbol("ACME")
days = [dt.date(2022, 12, day) for day in (12, 13, 14)]
frame = pd.DataFrame({"Date": days, "Open": [9.5, 10, 11], "High": [10.5, 11, 12],
    "Low": [9, 9.5, 10.5], "Close": [10, 10.75, 11.5], "Volume": [100, 200, None]})
moments = frame.assign(Date=pd.to_datetime(frame["Date"]).dt.tz_localize("America/New_York"))
shapes = {"dates": frame, "index": frame.set_index("Date"), "moments": moments}

def read(folder):
    source = FileBars(folder, clock=ManualClock(dt.datetime(2022, 12, 15, tzinfo=UTC)),
        calendar=NyseCalendar())
    return asyncio.run(source.daily_bars([acme], days[0], days[-1]))

for name, shape in shapes.items():
    (root / name).mkdir()
    shape.to_parquet(root / name / "ACME.parquet")
(root / "csv").mkdir()
frame.to_csv(root / "csv" / "ACME.csv", index=False)
wanted = read(root / "csv")
assert [bar.close for bar in wanted[acme]] == [10, 10.75, 11.5], wanted
for name in shapes:
    assert read(root / name) == wanted, (name, read(root / name))

(root / "broken").mkdir()
(root / "broken" / "ACME.parquet").write_bytes(b"PAR1 and no more")
try:
    read(root / "broken")
except DataError as exc:
    print(exc)
"""


@pytest.mark.slow
def test_a_parquet_file_is_read_like_the_csv_of_the_same_bars(tmp_path: Path) -> None:
    packages, data = tmp_path / "packages", tmp_path / "data"
    data.mkdir()
    aside = ("--target", str(packages), "--no-deps", "pyarrow>=21,<26")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *aside], check=True)

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(data)],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{packages}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "ACME.parquet cannot be read as Parquet" in done.stdout
