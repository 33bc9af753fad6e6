"""The page, its API and the metrics of a daemon that runs as users run it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.schedule import RunKind
from tests.support.browser import browser_page
from tests.support.running import REPOSITORY, TOKEN, Running, openbell_json, running_daemon
from tests.support.tools import tool

LISTINGS = ("orders", "fills", "positions", "forecasts", "signals", "runs", "costs", "reports")
RULES = REPOSITORY / "deploy" / "prometheus" / "openbell.rules.yml"
DEPLOYED = [RULES, *sorted((REPOSITORY / "deploy" / "grafana").glob("*.json"))]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("daemon")
    # It lives one session, stepping, and then stands still: every figure holds.
    with running_daemon(directory, "run", "--once", "--then-wait", speed=0) as one:
        one.wait_for("daemon.waiting", seconds=120)
        yield one


def test_a_daemon_that_lives_says_so(daemon: Running) -> None:
    assert daemon.ask("/healthz") == (200, '{"status":"alive"}')


def test_a_reconciled_daemon_is_ready(daemon: Running) -> None:
    status, text = daemon.ask("/readyz")

    assert (status, json.loads(text)) == (200, {"status": "ready", "problems": []})


@pytest.mark.parametrize("name", ["status", *LISTINGS])
def test_http_gives_the_same_documents_as_the_command_line(daemon: Running, name: str) -> None:
    over_http = daemon.json(f"/api/v1/{name}")

    assert over_http or name == "costs"
    if name != "reports":
        assert over_http == openbell_json(daemon, name)


def test_a_listing_can_be_asked_for_one_session(daemon: Running) -> None:
    assert daemon.json("/api/v1/orders?date=2022-11-14")
    assert daemon.json("/api/v1/orders?date=2022-11-15") == []
    assert daemon.ask("/api/v1/orders?date=yesterday")[0] == 422


def test_a_symbol_is_explained_and_an_unknown_one_is_not_found(daemon: Running) -> None:
    story = daemon.json("/api/v1/explain/AAPL")

    assert story["decision"]["signals"]
    assert daemon.json("/api/v1/explain/aapl") == story
    assert daemon.ask("/api/v1/explain/ZZZZ")[0] == 404
    assert daemon.ask("/api/v1/explain/..%2f..%2fetc")[0] in {404, 422}


def test_reports_are_served_sandboxed_and_nothing_else_is(daemon: Running) -> None:
    assert "2022-11-14" in daemon.ask("/reports/2022-11-14/report.html")[1]
    for path in (
        "/reports/2022-11-15/report.html",
        "/reports/2022-11-14/report.exe",
        "/reports/..%2f..%2f/report.html",
        "/static/..%2fapi.py",
        "/static/index.html",
    ):
        assert daemon.ask(path)[0] in {404, 422}, path


def test_metrics_are_many_and_follow_the_conventions(daemon: Running) -> None:
    status, text = daemon.ask("/metrics")

    families = {family.name: family for family in text_string_to_metric_families(text)}
    ours = {name: family for name, family in families.items() if name.startswith("openbell_")}
    assert status == 200
    assert len(ours) >= 50
    for name, family in ours.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert family.documentation, name
        assert not re.search(r"_(ms|millis|minutes|hours|percent|pct|cents)(_|$)", name), name
        assert len({str(sample.labels) for sample in family.samples}) <= 200, name
    assert ours["openbell_equity_usd"].samples[0].value == pytest.approx(
        float(daemon.json("/api/v1/status")["equity"])
    )
    assert ours["openbell_order_ack_latency_seconds"].samples
    assert ours["openbell_slippage_bps"].samples


def test_promtool_finds_nothing_to_say_about_the_metrics(daemon: Running) -> None:
    promtool = tool("promtool")

    found = subprocess.run(
        [promtool, "check", "metrics"],
        input=daemon.ask("/metrics")[1],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def exported(daemon: Running) -> set[str]:
    """Return every metric name, with the suffixes of its samples."""
    text = daemon.ask("/metrics")[1]
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    histograms = {line.split()[2] for line in text.splitlines() if line.endswith(" histogram")}
    return names | {f"{name}{end}" for name in histograms for end in ("_bucket", "_count", "_sum")}


def used_in(path: Path) -> set[str]:
    return set(re.findall(r"openbell_[a-z0-9_]+", path.read_text()))


# Without alert targets and MQTT these have no sample yet, but they are described.
@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.name)
def test_boards_and_alerts_use_only_names_that_are_exported(daemon: Running, path: Path) -> None:
    used = used_in(path)

    assert used
    assert used - exported(daemon) == set()


def test_there_are_four_boards_and_enough_alerts_each_with_an_action() -> None:
    rules = RULES.read_text()

    alerts = re.findall(r"- alert: (\w+)", rules)
    boards = [json.loads(path.read_text()) for path in DEPLOYED if path.suffix == ".json"]
    assert len(boards) == len({board["uid"] for board in boards}) == 4
    assert len(alerts) == len(set(alerts)) >= 15
    assert rules.count("action:") == len(alerts)
    assert rules.count("severity:") == len(alerts)


def test_what_alerts_by_its_rise_is_there_before_it_rises(daemon: Running) -> None:
    # Prometheus sees no rise in a series that begins at 1: the first failure would alert nobody.
    text = daemon.ask("/metrics")[1]
    rising = re.findall(r"increase\((openbell_\w+)(?:\{(.*?)\})?\[", RULES.read_text())

    assert ("openbell_notifications_total", 'outcome="failed"') in rising
    for name, label in rising:
        assert re.search(rf"^{name}(\{{.*{label}.*\}})? ", text, re.MULTILINE), (name, label)


def test_every_kind_of_run_can_be_seen_to_fail(daemon: Running) -> None:
    text = daemon.ask("/metrics")[1]

    for kind in RunKind:
        assert f'openbell_runs_total{{kind="{kind.value}",state="FAILED"}} 0.0' in text


def test_promtool_accepts_and_plays_the_rules() -> None:
    promtool = tool("promtool")

    for arguments in (["check", "rules", RULES.name], ["test", "rules", "openbell.rules_test.yml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_answer_forbids_inline_script_and_framing(daemon: Running) -> None:
    import urllib.request

    for path in ("/", "/healthz", "/static/dashboard.js", "/nowhere"):
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{daemon.port}{path}")
        except urllib.error.HTTPError as error:
            answer = error
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        answer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_another_host_or_page_is_refused_even_for_reading(
    daemon: Running, headers: dict[str, Any], status: int
) -> None:
    assert daemon.ask("/api/v1/status", **headers)[0] == status


@pytest.mark.parametrize("verb", ["kill", "pause"])
@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x"])
def test_control_without_the_token_is_refused(daemon: Running, verb: str, token: str) -> None:
    assert daemon.control(verb, token=token)[0] == 401
    assert daemon.json("/api/v1/status")["kill"]["engaged"] is False


def test_nothing_over_http_raises_risk(daemon: Running) -> None:
    paths = daemon.json("/openapi.json")["paths"]

    writing = {path for path, verbs in paths.items() if set(verbs) - {"get"}}
    assert writing == {"/api/v1/kill", "/api/v1/pause"}
    for verb in ("resume", "unpause", "orders"):
        assert daemon.control(verb)[0] in {404, 405}


def test_a_body_that_is_long_or_strange_is_refused(daemon: Running) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}

    for body, status in (
        (b"x" * 5000, 413),
        (b"{", 422),
        (b'{"flatten": true}', 422),
        (b"[]", 422),
        (b'{"reason": NaN}', 422),
        (b'{"\\ud83d": 1}', 422),
    ):
        assert daemon.ask("/api/v1/kill", method="POST", body=body, **headers)[0] == status
    assert daemon.json("/api/v1/status")["kill"]["engaged"] is False


def test_no_answer_holds_a_secret(daemon: Running) -> None:
    everything = "".join(
        daemon.ask(path)[1]
        for path in ("/", "/metrics", "/openapi.json", *(f"/api/v1/{name}" for name in LISTINGS))
    )

    for secret in (TOKEN, "embedded-broker-on-loopback", "PKEMBEDDED"):
        assert secret not in everything
        assert secret not in daemon.log


async def test_a_browser_draws_the_page_without_a_complaint(
    daemon: Running, tmp_path: Path
) -> None:
    async with browser_page(tool("chromium"), tmp_path / "profile") as page:
        await page.show(f"http://127.0.0.1:{daemon.port}/")
        await page.until("document.querySelectorAll('#positions tbody tr').length > 0")

        text = await page.value("document.body.innerText")
        await page.value("document.querySelector('#decisions .symbol').click()")
        await page.until("document.querySelectorAll('#story-body h3').length > 2")
        await page.picture(tmp_path / "page.png")

        assert "DEMO" in text
        assert "ACTIVE" in text
        assert daemon.json("/api/v1/status")["account"][-4:] in text
        assert page.complaints == []
        assert {url.split("/")[2] for url in page.requested} == {f"127.0.0.1:{daemon.port}"}
        assert (tmp_path / "page.png").stat().st_size > 20_000


async def test_the_page_fits_a_phone(daemon: Running, tmp_path: Path) -> None:
    async with browser_page(tool("chromium"), tmp_path / "profile") as page:
        await page.show(f"http://127.0.0.1:{daemon.port}/?theme=light", width=390, height=844)
        await page.until("document.querySelectorAll('#positions tbody tr').length > 0")

        assert await page.value("document.documentElement.scrollWidth") <= 390


# The last tests of this file: they stop the daemon of this module for good.


def test_the_pause_button_stops_entries_at_once(daemon: Running) -> None:
    assert daemon.control("pause", "lunch")[0] == 202

    status = daemon.json("/api/v1/status")
    assert status["trading_state"] == "REDUCING"
    assert "lunch" in daemon.json("/api/v1/overview")["paused"]


def test_half_an_emoji_in_the_reason_holds_nothing_back(daemon: Running) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    body = rb'{"reason": "fire \ud83d"}'

    assert daemon.ask("/api/v1/pause", method="POST", body=body, **headers)[0] == 202


def test_the_kill_button_engages_the_latch_before_it_answers(daemon: Running) -> None:
    assert daemon.control("kill", "fire\x1b[31m drill")[0] == 202

    status = daemon.json("/api/v1/status")
    latch = (daemon.state / "KILL").read_text()
    assert status["kill"]["engaged"] is True
    assert status["trading_state"] == "HALTED"
    assert "fire" in latch
    assert "\\u001b" not in latch
    assert daemon.ask("/readyz")[0] == 503
