"""`openbell fetch` as a process, through the real alpaca-py, against Alpaca's API on loopback."""

import asyncio
import json
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brokers.paper_server import parse_fault
from tests.support.vendor_day import ENVIRON, START, SYMBOLS, VendorDay, vendor_day

REPOSITORY = Path(__file__).parents[2]
FROM = "2021-01-04"
SESSIONS = 470  # 2021-01-04 to 2022-11-11


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
async def day(tmp_path: Path) -> AsyncIterator[VendorDay]:
    async with vendor_day(tmp_path) as made:
        made.config()
        yield made


async def fetch(day: VendorDay, *arguments: str, **environ: str) -> Done:
    return await openbell(day, "fetch", *arguments, **environ)


async def openbell(day: VendorDay, *arguments: str, **environ: str) -> Done:
    inherited = {name: text for name, text in os.environ.items() if "OPENBELL" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daemon",
        *arguments,
        cwd=day.directory,
        env={**inherited, **ENVIRON, "PYTHONPATH": str(REPOSITORY), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Done(process.returncode or 0, out.decode(), err.decode())


def asked(day: VendorDay) -> int:
    return sum(one["path"] == "/v2/stocks/bars" for one in day.alpaca.log)


async def test_the_universe_is_fetched_checked_and_not_fetched_again(day: VendorDay) -> None:
    first = await fetch(day, "--from", FROM, "--json")

    assert (first.status, first.err) == (0, "")
    assert first.document["provider"] == "alpaca"
    assert first.document["bars"] == SESSIONS * len(SYMBOLS)
    assert (first.document["gaps"], first.document["excluded"]) == (0, {})
    assert {one["last"] for one in first.document["symbols"]} == {"2022-11-11"}
    stored = sorted(path.stem for path in (day.directory / "state" / "bars").glob("*.npz"))
    assert stored == sorted(SYMBOLS)
    before = asked(day)
    assert before > 0

    again = await fetch(day, "--from", FROM, "--json")

    assert again.document == first.document
    assert asked(day) == before


async def test_a_symbol_without_bars_is_named_and_the_others_are_there(day: VendorDay) -> None:
    done = await fetch(day, "aapl", "ZZZZ", "--from", FROM)

    assert done.status == 1
    assert "no bars" in done.out
    assert f"alpaca: {SESSIONS} bars, 0 gaps; 1 of 2 symbols are fit for use" in done.out
    # Progress is for a terminal; this is a pipe.
    assert done.err == ""


async def test_a_provider_that_fails_is_one_sentence_and_exit_75(day: VendorDay) -> None:
    day.alpaca.faults.arm(parse_fault("html_502:path=/v2/stocks/bars,method=GET,count=0"))

    done = await fetch(day, "AAPL", "--from", FROM)

    assert done.status == 75
    (sentence,) = done.err.splitlines()
    assert sentence.startswith("openbell: alpaca gave nothing for 1 of 1 symbols (")
    assert "HTTP 502" in sentence
    assert sentence.endswith("type the same command again, it goes on where it stopped")


async def test_refused_keys_are_said_to_be_the_keys_and_exit_78(day: VendorDay) -> None:
    done = await fetch(day, APCA_API_SECRET_KEY="wrong")

    assert done.status == 78
    assert "the keys were refused; check APCA_API_KEY_ID" in done.err
    assert len(done.err.splitlines()) == 1
    assert asked(day) <= 1


async def test_a_daemon_with_refused_data_keys_does_not_start_and_exits_78(day: VendorDay) -> None:
    embedded = {"OPENBELL__BROKER__KIND": "embedded", "OPENBELL__CLOCK__START": START.isoformat()}

    done = await openbell(day, "run", "--once", APCA_API_SECRET_KEY="wrong", **embedded)

    assert done.status == 78
    assert done.err.splitlines()[-1].startswith("openbell: alpaca: the keys were refused")


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["--provider", "ftp"], 64, "choose one of sample, alpaca, yahoo, csv"),
        (["--from", "long ago"], 64, "--from long ago: not a date"),
        (["--from", "2030-01-02"], 64, "after the last complete session, 2022-11-11"),
        (["not a symbol"], 64, "not a US equity symbol"),
        (["--provider", "csv"], 1, "set marketdata.csv.directory"),
    ],
)
async def test_what_cannot_be_meant_is_one_sentence(
    day: VendorDay, arguments: list[str], status: int, part: str
) -> None:
    done = await fetch(day, *arguments)

    assert done.status == status
    assert part in done.err
    assert len(done.err.splitlines()) == 1


async def test_shipped_and_own_files_are_checked_where_they_are(day: VendorDay) -> None:
    files = day.directory / "bars"
    files.mkdir()
    (files / "OWN.csv").write_text("date,close\n2022-11-10,10\n2022-11-11,10.5\n")

    sample = await fetch(day, "AAPL", "--provider", "sample", "--from", FROM, "--json")
    own = await fetch(day, "OWN", "--provider", "csv", "--from", "2022-11-08", "--json")

    assert (sample.status, sample.document["bars"]) == (0, SESSIONS)
    assert (own.status, own.document["bars"]) == (0, 2)
    assert not (day.directory / "state" / "bars").exists()


async def test_a_fetch_before_the_first_start_leaves_a_state_directory_that_starts(
    day: VendorDay,
) -> None:
    shutil.rmtree(day.directory / "state", ignore_errors=True)
    before = os.umask(0o002)  # as many a distribution gives its users
    try:
        done = await fetch(day, "--from", FROM)
    finally:
        os.umask(before)

    assert done.status == 0
    assert (day.directory / "state" / "bars").is_dir()
    assert stat.S_IMODE((day.directory / "state").stat().st_mode) == 0o700
