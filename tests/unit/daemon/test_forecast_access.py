"""How the daemon asks a forecast server that is not plain `Authorization: Bearer`."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from daemon.config import Config, load
from daemon.doctor.remote import remote_findings
from daemon.sources.forecasting import forecast_engine
from domain.clock import LoopClock, SystemClock
from domain.errors import ConfigError
from state.store import Store
from tests.support.forecast_scene import AS_OF, history_of
from tests.support.scripted_server import Exchange, ScriptedServer, answer

TOKEN = "made-up-token"
MODELSCOPE_STUDIO = {"AUTH_HEADER": "X-Api-Key", "AUTH_SCHEME": ""}
PAI_EAS = {"AUTH_SCHEME": ""}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("OPENBELL_FORECAST_TOKEN", TOKEN)


def config(tmp_path: Path, url: str, **remote: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[universe]\nsymbols = ["AAPL"]\n[state]\ndirectory = "{tmp_path / "state"}"\n'
    )
    prefix = "OPENBELL__FORECASTS__REMOTE__"
    return load(file, {prefix + name: text for name, text in {"URL": url, **remote}.items()})


async def forecast(settings: Config, tmp_path: Path) -> None:
    clock = LoopClock(AS_OF, asyncio.get_running_loop())
    store = Store.open(tmp_path / "state", clock=clock)
    try:
        async with forecast_engine(settings, store, clock, time_scale=1.0) as engine:
            await engine.forecast(history_of("AAPL"), AS_OF)
    finally:
        store.close()


@pytest.mark.parametrize(
    ("chosen", "header", "sent"),
    [
        ({}, "authorization", f"Bearer {TOKEN}"),
        (PAI_EAS, "authorization", TOKEN),
        (MODELSCOPE_STUDIO, "x-api-key", TOKEN),
    ],
)
async def test_the_daemon_and_the_doctor_send_the_token_as_configured(
    tmp_path: Path, chosen: Mapping[str, str], header: str, sent: str
) -> None:
    async with ScriptedServer() as server:
        server.on("GET", "/v2", answer(200, {"extensions": []}))
        server.on("GET", "/v2/models/lstm/ready", answer(200, {"ready": True}))
        server.on("POST", "/v2/models/lstm/infer", answer(503))
        settings = config(tmp_path, server.url, **chosen)

        await forecast(settings, tmp_path)
        findings = [finding async for finding in remote_findings(settings, SystemClock())]

    assert "forecasts" in [finding.name for finding in findings]
    assert [request.path for request in server.seen] == [
        "/v2",
        "/v2/models/lstm/infer",
        "/v2/models/lstm/ready",
        "/v2/models/lstm",
        "/v2/models/lstm/versions/1",
    ]
    for request in server.seen:
        assert request.headers[header] == sent
        assert header == "authorization" or "authorization" not in request.headers


async def test_a_service_that_sleeps_gets_its_time_from_the_configuration(tmp_path: Path) -> None:
    async def waking(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await answer(200, {"extensions": []})(exchange)

    async with ScriptedServer() as server:
        server.on("GET", "/v2", waking)
        server.on("POST", "/v2/models/lstm/infer", answer(503))
        settings = config(tmp_path, server.url, TIMEOUT_SECONDS="0.2", WARM_UP_SECONDS="20")

        await forecast(settings, tmp_path)

    assert [request.path for request in server.seen] == ["/v2", "/v2/models/lstm/infer"]


async def test_a_header_that_cannot_carry_the_token_stops_the_start(tmp_path: Path) -> None:
    settings = config(tmp_path, "http://127.0.0.1:9", AUTH_HEADER="Content-Length")

    with pytest.raises(ConfigError, match=r"forecasts\.remote\.auth_header"):
        await forecast(settings, tmp_path)
