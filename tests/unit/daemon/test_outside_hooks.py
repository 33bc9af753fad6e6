"""What the daemon tells the outside: that it lives, what it earned, how much GPU it needs."""

import asyncio
import base64
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.config import AlertsConfig, CostsConfig, ScalingConfig, Schedule, load
from daemon.sources.budget import ForecastBudget
from daemon.sources.scaling import GpuScaler, ScalerParts, forecast_volatility, gpu_scaling
from daemon.telemetry import alerts
from daemon.telemetry.dead_man import DeadMansSwitch
from daemon.telemetry.delivery import ReportDelivery, summary
from daemon.telemetry.hub import URGENT
from daemon.telemetry.vitals import Vitals
from domain.clock import ManualClock, SystemClock
from domain.errors import ConfigError, StorageError
from domain.secrets import Secret
from marketdata.session_calendar import NyseCalendar
from reports.model import Bridge, EndOfDayReport
from reports.write import write
from state.costs import Costs
from state.store import Store
from tests.support.running import REPOSITORY
from tests.support.scripted_server import ScriptedServer, answer, hang
from transport.http import BoundedClient, Deadlines, HttpSettings

NIGHT = dt.datetime(2022, 11, 14, 6, 0, tzinfo=dt.UTC)
WINDOW = dt.datetime(2022, 11, 14, 13, 20, tzinfo=dt.UTC)
CLOSE = dt.datetime(2022, 11, 14, 21, 0, tzinfo=dt.UTC)


class Scene:
    """A scaler on a clock of its own, and the server that it tells."""

    def __init__(
        self, server: ScriptedServer, directory: Path, seconds: float = 10.0, **costs: Any
    ) -> None:
        self.server = server
        self.clock = ManualClock(NIGHT)
        self.store = Store.open(directory, clock=self.clock)
        self.costs = Costs(self.store)
        self.volatility: float | None = None
        self.notes: list[tuple[str, str]] = []
        self.client = BoundedClient(
            HttpSettings(base_url=server.url, deadlines=Deadlines(total_seconds=seconds)),
            {"Authorization": Secret("Bearer made-up")},
        )
        self.scaler = GpuScaler(
            ScalerParts(
                settings=ScalingConfig(url=server.url, usd_per_replica_hour=4.0),
                schedule=Schedule(),
                client=self.client,
                path="/scale",
                calendar=NyseCalendar(),
                clock=self.clock,
                costs=self.costs,
                budget=ForecastBudget(self.store, CostsConfig(**costs), clock=self.clock),
                volatility=lambda: self.volatility,
                note=lambda kind, text: self.notes.append((kind, text)),
            )
        )

    async def look_at(self, moment: dt.datetime) -> dt.timedelta:
        self.clock.advance(moment - self.clock.now())
        return await self.scaler.look()

    @property
    def asked(self) -> list[int]:
        return [seen.json()["replicas"] for seen in self.server.seen]


@pytest.fixture
async def server() -> Any:
    async with ScriptedServer() as running:
        yield running


async def test_the_gpu_side_sleeps_while_the_market_is_closed_and_is_woken_in_time(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on("POST", "/scale", *[answer(204)] * 3)
    scene = Scene(server, tmp_path)

    assert await scene.look_at(NIGHT) == WINDOW - NIGHT
    assert await scene.look_at(WINDOW) == dt.timedelta(minutes=15)
    await scene.look_at(WINDOW + dt.timedelta(minutes=15))
    await scene.look_at(CLOSE)

    assert scene.asked == [0, 1, 0]
    assert server.seen[0].headers["authorization"] == "Bearer made-up"
    assert server.seen[0].json()["reason"] == "the market is closed"
    # 7 hours and 40 minutes of one replica at 4 USD.
    assert scene.costs.spent("gpu", NIGHT, CLOSE + dt.timedelta(days=1)) == Decimal("30.6667")
    await scene.client.aclose()


async def test_a_database_that_refuses_one_look_is_told_and_the_gpu_is_scaled_down_later(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("POST", "/scale", *[answer(204)] * 3)
    scene = Scene(server, tmp_path)
    book, bookings = scene.costs.book, iter(range(1000))

    def refuse_once(*words: Any) -> None:
        if next(bookings) == 0:
            raise StorageError("no space")
        book(*words)

    monkeypatch.setattr(scene.costs, "book", refuse_once)
    # On this clock the days pass at once.
    scaler = asyncio.create_task(scene.scaler.run())
    async with asyncio.timeout(10):
        while len(scene.asked) < 3:  # noqa: ASYNC110 - no event is set for tests
            await asyncio.sleep(0.001)
    scaler.cancel()
    await asyncio.gather(scaler, return_exceptions=True)

    assert scene.asked[:3] == [0, 1, 0]
    assert scene.notes[0] == ("gpu.unscaled", "what is needed was not looked up: no space")
    # Nothing of the 7 hours and 40 minutes is forgotten.
    end_of_day = CLOSE + dt.timedelta(minutes=1)
    assert round(scene.costs.spent("gpu", NIGHT, end_of_day), 2) == Decimal("30.67")
    await scene.client.aclose()


async def test_high_volatility_scales_up_and_a_calm_market_down_again(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on("POST", "/scale", *[answer(200, b"{}")] * 3)
    scene = Scene(server, tmp_path)

    await scene.look_at(WINDOW)
    scene.volatility = 80.0
    await scene.look_at(WINDOW + dt.timedelta(minutes=15))
    scene.volatility = 20.0
    await scene.look_at(WINDOW + dt.timedelta(minutes=30))

    assert scene.asked == [1, 2, 1]
    assert "volatility 80 %" in server.seen[1].json()["reason"]
    assert scene.costs.spent("gpu", NIGHT, CLOSE) == 3
    await scene.client.aclose()


async def test_a_spent_budget_sends_the_gpu_to_sleep(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on("POST", "/scale", *[answer(204)] * 2)
    scene = Scene(server, tmp_path, gpu_daily_budget_usd=5.0)

    await scene.look_at(WINDOW)
    await scene.look_at(WINDOW + dt.timedelta(hours=2))

    assert scene.asked == [1, 0]
    assert "the budget is 5" in server.seen[1].json()["reason"]
    await scene.client.aclose()


async def test_a_refusal_is_told_and_asked_again(server: ScriptedServer, tmp_path: Path) -> None:
    server.on("POST", "/scale", answer(503), answer(204))
    scene = Scene(server, tmp_path)

    assert await scene.look_at(WINDOW) == dt.timedelta(minutes=5)
    await scene.look_at(WINDOW + dt.timedelta(minutes=5))

    assert scene.asked == [1, 1]
    assert scene.notes == [("gpu.unscaled", "1 replicas were asked for (a session): status 503")]
    assert scene.costs.spent("gpu", NIGHT, CLOSE) == 0
    await scene.client.aclose()


async def test_h08_what_was_asked_without_an_answer_may_run_so_it_is_booked_and_sent_to_sleep(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on("POST", "/scale", answer(204), hang, answer(204))
    scene = Scene(server, tmp_path, seconds=0.2)

    await scene.look_at(NIGHT)
    await scene.look_at(WINDOW)
    assert "timeout failure after sending" in scene.notes[0][1]
    await scene.look_at(CLOSE)

    assert scene.asked == [0, 1, 0]
    # 7 hours and 40 minutes of one replica at 4 USD.
    assert scene.costs.spent("gpu", NIGHT, CLOSE + dt.timedelta(days=1)) == Decimal("30.6667")
    await scene.client.aclose()


async def test_when_the_daemon_ends_nothing_is_needed_any_more(
    server: ScriptedServer, tmp_path: Path
) -> None:
    server.on("POST", "/scale", *[answer(204)] * 2)
    scene = Scene(server, tmp_path)
    scene.clock.advance(WINDOW - NIGHT)
    task = asyncio.create_task(scene.scaler.run())
    async with asyncio.timeout(10):
        while scene.scaler.told is None:  # noqa: ASYNC110 - no event is set for tests
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert scene.asked == [1, 0]
    await scene.client.aclose()


async def test_the_address_is_told_with_its_query(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("POST", "/scale", answer(204))
    url = f"{server.url}/scale?endpoint=gpu-7"
    monkeypatch.setenv("OPENBELL__FORECASTS__REMOTE__SCALING__URL", url)
    monkeypatch.setenv("OPENBELL_SCALE_TOKEN", "made-up")
    clock = ManualClock(NIGHT)

    async with gpu_scaling(
        load(REPOSITORY / "config.toml"),
        Store.open(tmp_path, clock=clock),
        clock=clock,
        calendar=NyseCalendar(),
        time_scale=1,
        note=lambda kind, text: None,
    ):
        async with asyncio.timeout(10):
            while not server.seen:  # noqa: ASYNC110 - no event is set for tests
                await asyncio.sleep(0.001)

    assert server.seen[0].params == {"endpoint": "gpu-7"}


@pytest.mark.parametrize(
    ("url", "why"),
    [("http://gpu.example/scale", "must be https"), ("http://127.0.0.1:9/x", "SCALE_TOKEN")],
)
async def test_a_token_leaves_over_tls_or_not_at_all(
    tmp_path: Path, url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBELL__FORECASTS__REMOTE__SCALING__URL", url)
    config = load(REPOSITORY / "config.toml")
    clock = ManualClock(NIGHT)

    with pytest.raises(ConfigError, match=why):
        async with gpu_scaling(
            config,
            Store.open(tmp_path, clock=clock),
            clock=clock,
            calendar=NyseCalendar(),
            time_scale=1,
            note=lambda kind, text: None,
        ):
            pass


def test_without_a_decision_volatility_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path))
    config = load(REPOSITORY / "config.toml")
    assert forecast_volatility(config) is None
    Store.open(tmp_path, clock=ManualClock(NIGHT)).close()
    assert forecast_volatility(config) is None


def switch(url: str, vitals: Vitals) -> DeadMansSwitch:
    settings = AlertsConfig(heartbeat_url=url)
    return DeadMansSwitch(settings, vitals=vitals, clock=SystemClock(), time_scale=1)


async def test_the_dead_mans_switch_is_held_while_progress_is_proven(
    server: ScriptedServer,
) -> None:
    server.on("GET", "/ping/uuid", answer(200, b"OK"), answer(500))
    vitals = Vitals(is_ready=True)
    one = switch(f"{server.url}/ping/uuid?x=1", vitals)

    assert await one.beat() is True
    assert await one.beat() is False
    vitals.beaten(5.0)
    assert await one.beat() is False
    vitals.beaten(0.0)
    vitals.is_ready = False
    assert await one.beat() is False

    assert len(server.seen) == 2


async def test_an_address_that_is_away_is_no_more_than_a_line() -> None:
    assert await switch("http://127.0.0.1:9/", Vitals(is_ready=True)).beat() is False
    with pytest.raises(ConfigError, match="heartbeat_url: must be") as caught:
        switch("secret-uuid", Vitals())
    assert "secret-uuid" not in str(caught.value)


def a_report() -> EndOfDayReport:
    bridge = Bridge(
        equity_start=Decimal(1000),
        equity_end=Decimal(1001),
        realized_pnl=Decimal(1),
        unrealized_pnl_change=Decimal(0),
        fees=Decimal(0),
        dividends=Decimal(0),
        interest=Decimal(0),
        transfers=Decimal(0),
        other=Decimal(0),
    )
    names = ("by_symbol", "orders", "fills", "denied", "signals", "forecasts", "sentiment")
    empty: dict[str, Any] = dict.fromkeys((*names, "runs", "incidents", "costs", "notes"), ())
    return EndOfDayReport(
        session_date=dt.date(2026, 6, 4),
        revision=1,
        mode="paper",
        account_tail="0001",
        tomorrow=None,
        bridge=bridge,
        equity_curve=(),
        position_curves={},
        **empty,
    )


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
async def test_a_report_goes_to_the_alert_targets_with_its_page(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("POST", "/", answer(200))
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path))
    monkeypatch.setenv("OPENBELL__ALERTS__URLS", json.dumps([f"json://127.0.0.1:{server.port}/"]))
    report = a_report()
    write(tmp_path, report, ["html"])

    told: list[str] = []
    deliver = ReportDelivery(
        load(REPOSITORY / "config.toml"), time_scale=1, alert=lambda kind, _: told.append(kind)
    )
    await deliver([report])

    (message,) = [seen.json() for seen in server.seen]
    assert told == []
    assert message["title"] == "openbell: Thu 04 Jun 2026"
    assert message["message"].startswith("P&L +1.00 USD")
    page = base64.b64decode(message["attachments"][0]["base64"])
    assert b"<!doctype html>" in page


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
async def test_a_report_that_did_not_arrive_is_an_alert(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("POST", "/", answer(500))
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path))
    monkeypatch.setenv("OPENBELL__ALERTS__URLS", json.dumps([f"json://127.0.0.1:{server.port}/"]))
    report = a_report()
    write(tmp_path, report, ["html"])
    told: list[tuple[str, str]] = []

    await ReportDelivery(
        load(REPOSITORY / "config.toml"),
        time_scale=1,
        alert=lambda kind, text: told.append((kind, text)),
    )([report])

    assert told == [("report.undelivered", "openbell: Thu 04 Jun 2026: not every target took it")]
    assert told[0][0] in URGENT


async def test_a_target_that_breaks_breaks_no_end_of_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def notify(self, **_: object) -> bool:
            raise RuntimeError("a bug of the target's library")

    monkeypatch.setattr(alerts, "open_targets", lambda _urls: [Broken()])
    monkeypatch.setenv("OPENBELL__STATE__DIRECTORY", str(tmp_path))
    told: list[str] = []
    deliver = ReportDelivery(
        load(REPOSITORY / "config.toml"), time_scale=1, alert=lambda kind, _: told.append(kind)
    )

    await deliver([a_report()])

    assert told == ["report.undelivered"]


def test_a_summary_tells_the_day_in_a_few_lines() -> None:
    title, body = summary(a_report())

    assert (title, body.splitlines()[1]) == (
        "openbell: Thu 04 Jun 2026",
        "0 fills, 0 denied, 0 incidents",
    )


def test_to_deliver_to_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBELL__ALERTS__REPORTS", "true")
    with pytest.raises(ConfigError, match=r"alerts\.urls must name"):
        load(REPOSITORY / "config.toml")
