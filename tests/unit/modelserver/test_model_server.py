import asyncio
import dataclasses
import hashlib
import os
import shutil
import signal
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from domain.errors import ConfigError, ProviderUnavailable
from domain.secrets import Secret
from forecasts.local_process import ModelProcess
from forecasts.model_files import publish
from forecasts.model_store import SHIPPED, ModelStore
from modelserver.server import ModelServer
from modelserver.settings import ServerSettings, is_loopback
from tests.support.model_server import CARD, INFER, TOKEN, decoded, message, post, serving


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED, tmp_path / "models")
    return tmp_path / "models"


class Held:
    """Holds every model's process at its door until let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.error: Exception | None = None
        self._gate = threading.Event()
        self._gate.set()
        bare = ModelProcess.run

        def run(process: ModelProcess, given: np.ndarray, seconds: float) -> np.ndarray:
            self.batches.append(given.shape[0])
            self._gate.wait(20)
            if self.error is not None:
                raise self.error
            return bare(process, given, seconds)

        monkeypatch.setattr(ModelProcess, "run", run)

    def hold(self) -> None:
        self._gate.clear()
        self.batches.clear()

    def release(self) -> None:
        self._gate.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


async def eventually(look: object) -> None:
    assert callable(look)
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 -- looked at from outside
            await asyncio.sleep(0.01)


async def inside(client: httpx.AsyncClient, count: int) -> None:
    async def look() -> bool:
        text = (await client.get("/metrics")).text
        return f"openbell_model_requests_in_house {count}.0" in text

    async with asyncio.timeout(10):
        while not await look():  # noqa: ASYNC110 -- looked at from outside
            await asyncio.sleep(0.01)


async def test_a_full_house_answers_429_and_when_to_come_back(held: Held) -> None:
    async with serving(queue_size=2) as (_, client):
        held.hold()
        asked = [asyncio.create_task(post(client, message(3))) for _ in range(2)]
        await inside(client, 2)

        refused = await post(client, message(200), binary=True)
        health = await client.get("/v2/health/ready")
        held.release()
        replies = await asyncio.gather(*asked)

        assert (refused.status_code, health.status_code) == (429, 200)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"] == "2 requests are waiting already, as many as may"
        assert [reply.status_code for reply in replies] == [200, 200]
        assert (await post(client, message(3))).status_code == 200


async def test_requests_that_wait_together_are_computed_together_and_told_apart(
    held: Held,
) -> None:
    async with serving() as (_, client):
        alone = [decoded(await post(client, message(rows))) for rows in (3, 5, 7)]
        held.hold()
        first = asyncio.create_task(post(client, message(1)))
        await eventually(lambda: held.batches)
        others = [asyncio.create_task(post(client, message(rows))) for rows in (3, 5, 7)]
        await inside(client, 4)
        held.release()
        await first
        together = [decoded(reply) for reply in await asyncio.gather(*others)]

        assert held.batches == [1, 15]
        for one, other in zip(alone, together, strict=True):
            assert one.texts("symbols") == other.texts("symbols")
            np.testing.assert_allclose(
                one.floats("quantiles", 3), other.floats("quantiles", 3), rtol=1e-5, atol=1e-7
            )


async def test_a_batch_has_no_more_rows_than_it_may(held: Held) -> None:
    async with serving(batch_rows=8) as (_, client):
        held.hold()
        asked = [asyncio.create_task(post(client, message(1)))]
        await eventually(lambda: held.batches)
        asked += [asyncio.create_task(post(client, message(5))) for _ in range(3)]
        asked.append(asyncio.create_task(post(client, message(20))))
        await inside(client, 5)
        held.release()
        replies = await asyncio.gather(*asked)

        assert [reply.status_code for reply in replies] == [200] * 5
        assert sorted(held.batches) == [1, 5, 5, 5, 20]


async def test_two_workers_compute_two_requests_at_once(held: Held) -> None:
    async with serving(workers=2) as (_, client):
        held.hold()
        asked = [asyncio.create_task(post(client, message(1)))]
        await eventually(lambda: len(held.batches) == 1)
        asked.append(asyncio.create_task(post(client, message(2))))
        await eventually(lambda: sorted(held.batches) == [1, 2])
        held.release()

        assert [reply.status_code for reply in await asyncio.gather(*asked)] == [200, 200]


async def test_an_answer_that_comes_too_late_is_503_and_nobody_else_suffers(held: Held) -> None:
    async with serving(answer_seconds=0.3) as (_, client):
        held.hold()
        late = await post(client, message(1))
        held.release()

        assert late.status_code == 503
        assert late.json()["error"] == "not computed within 0.3 s"
        assert "retry-after" in late.headers


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ProviderUnavailable("its process ended"), "its process ended"),
        (MemoryError("secret of the house"), "the model failed (MemoryError)"),
    ],
)
async def test_a_model_that_fails_is_503_and_serves_the_next(
    held: Held, error: Exception, text: str
) -> None:
    async with serving() as (_, client):
        held.error = error
        failed = await post(client, message(1))
        held.error = None

        assert (failed.status_code, failed.json()["error"]) == (503, text)
        assert (await post(client, message(1))).status_code == 200


async def test_a_killed_model_process_is_replaced() -> None:
    async with serving() as (server, client):
        engine = server.catalog.hosted["lstm", "1"].engines[0]
        assert isinstance(engine, ModelProcess)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)

        replies = [await post(client, message(1)) for _ in range(2)]

        assert replies[-1].status_code == 200


async def test_going_down_finishes_who_is_inside_and_takes_nobody_in(held: Held) -> None:
    settings = ServerSettings(port=0, token=Secret(TOKEN))
    server = ModelServer(ModelStore(), settings)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=30) as client:
        await server.__aenter__()
        client.base_url = httpx.URL(server.url)
        held.hold()
        asked = asyncio.create_task(post(client, message(3)))
        await eventually(lambda: held.batches)

        ending = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.sleep(0)
        refused = await post(client, message(3))
        probes = [
            await client.get(path)
            for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/lstm/ready")
        ]
        held.release()
        await ending

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert [probe.status_code for probe in probes] == [200, 503, 503]
        assert (await asked).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await client.get("/v2/health/live")
        engine = server.catalog.hosted["lstm", "1"].engines[0]
        assert isinstance(engine, ModelProcess)
        assert engine.pid is None


async def test_a_promotion_takes_effect_at_once_and_old_versions_stay(root: Path) -> None:
    store = ModelStore([root])
    stored = store.load("lstm")
    async with serving(store) as (_, client):
        publish(root, dataclasses.replace(stored.card, version="2"), stored.onnx)
        before = (await post(client, message(2))).json()["model_version"]
        store.promote("lstm", "2")
        after = (await post(client, message(2))).json()["model_version"]
        old = (await post(client, message(2), path="/v2/models/lstm/versions/1/infer")).json()

        assert (before, after, old["model_version"]) == ("1", "2", "1")
        assert (await client.get("/v2/models/lstm")).json()["versions"] == ["1", "2"]


async def test_a_client_that_names_a_hash_gets_that_version_also_before_it_is_promoted(
    root: Path,
) -> None:
    store = ModelStore([root])
    stored = store.load("lstm")
    # A comment in the file: the same model by other bytes.
    other = stored.onnx + b"\x32\x01v"
    digest = hashlib.sha256(other).hexdigest()
    publish(root, dataclasses.replace(stored.card, version="2", sha256=digest), other)
    async with serving(store) as (_, client):
        for version, model_hash in (("1", CARD.sha256), ("2", digest)):
            reply = await post(client, message(2, parameters={"model_hash": model_hash}))

            assert reply.json()["model_version"] == version
            assert decoded(reply).parameters["model_hash"] == model_hash


async def test_a_damaged_version_is_listed_and_harms_no_other(root: Path) -> None:
    stored = ModelStore([root]).load("lstm")
    path = publish(root, dataclasses.replace(stored.card, version="2"), stored.onnx)
    (path / "model.onnx").write_bytes(b"damaged")

    async with serving(ModelStore([root])) as (_, client):
        index = (await client.post("/v2/repository/index", json={})).json()
        damaged = await client.get("/v2/models/lstm/versions/2/ready")

        assert [(one["version"], one["state"]) for one in index] == [
            ("1", "READY"),
            ("2", "UNAVAILABLE"),
        ]
        assert "does not match its card" in index[1]["reason"]
        assert damaged.status_code == 503
        assert (await client.get("/v2/models/lstm")).json()["versions"] == ["1"]
        assert (await post(client, message(1))).status_code == 200


async def test_a_registry_without_a_usable_model_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no usable model to serve"):
        async with serving(ModelStore([tmp_path])):
            pass


async def test_a_port_that_is_taken_is_one_sentence() -> None:
    async with serving() as (server, _):
        again = ModelServer(ModelStore(), ServerSettings(port=server.port))
        with pytest.raises(ConfigError, match=rf"port {server.port} cannot be opened .* --port"):
            async with again:
                pass


async def test_without_a_token_on_loopback_everybody_here_may_ask() -> None:
    async with (
        ModelServer(ModelStore(), ServerSettings(port=0)) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as stranger,
    ):
        assert (await stranger.get("/v2")).status_code == 200


@pytest.mark.parametrize("host", ["192.168.1.7", "gpu.example.com", "::"])
@pytest.mark.parametrize("token", [None, Secret("too-short")])
def test_a_network_is_not_served_without_a_good_token(host: str, token: Secret | None) -> None:
    with pytest.raises(ConfigError, match="OPENBELL_FORECAST_TOKEN must hold at least 20"):
        ServerSettings(host=host, token=token)

    assert ServerSettings(host=host, token=Secret(TOKEN)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_known_in_every_form(host: str) -> None:
    assert is_loopback(host)


async def test_the_metrics_count_requests_rows_and_models() -> None:
    async with serving() as (_, client):
        await post(client, message(7))
        await client.post(INFER, content=b"{")
        await post(client, message(1), path="/v2/models/made-up/infer")
        text = (await client.get("/metrics")).text

    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        (sample.labels["model"], sample.labels["status"]): sample.value
        for sample in families["openbell_model_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted == {("lstm", "200"): 1, ("unknown", "400"): 1, ("unknown", "404"): 1}
    rows = {sample.name: sample.value for sample in families["openbell_model_batch_rows"].samples}
    # The warm-up has one row.
    assert rows["openbell_model_batch_rows_sum"] == 8
    info = families["openbell_model_info"].samples[0].labels
    assert (info["model"], info["model_hash"]) == ("lstm", CARD.sha256)
    assert TOKEN not in text


async def test_who_is_not_answered_in_time_is_cut_off_and_the_server_ends(held: Held) -> None:
    settings = ServerSettings(port=0, drain_seconds=0.1)
    server = ModelServer(ModelStore(), settings)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        await server.__aenter__()
        client.base_url = httpx.URL(server.url)
        held.hold()
        asked = asyncio.create_task(post(client, message(3)))
        await eventually(lambda: held.batches)
        asyncio.get_running_loop().call_later(3, held.release)

        async with asyncio.timeout(20):
            await server.__aexit__(None, None, None)

        assert (await asked).status_code == 500


async def test_a_fault_of_ours_is_500_without_its_text_and_the_server_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret of the house")

    async with serving() as (_, client):
        with monkeypatch.context() as patched:
            patched.setattr("modelserver.inference.answer", fail)
            failed = await post(client, message(1))

        assert (failed.status_code, failed.json()) == (
            500,
            {"error": "the server failed; see its log"},
        )
        assert (await post(client, message(1))).status_code == 200


async def test_a_large_body_with_a_wrong_token_still_sees_the_refusal() -> None:
    async with serving() as (_, client):
        reply = await client.post(
            INFER, content=b"0" * 8_000_000, headers={"Authorization": "Bearer wrong"}
        )

        assert reply.status_code == 401
