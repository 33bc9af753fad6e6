"""Our client against a real MLServer, which knows neither binary tensors nor our server.

It lives in an environment of its own, for it wants other versions of what we use.
"""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import numpy as np
import pytest

from domain.errors import ProviderUnavailable
from domain.forecasts import ForecastSource
from domain.ids import Symbol
from tests.support.forecast_scene import AS_OF, history_of
from tests.support.model_server import CARD, remote_forecaster
from tests.support.tools import miss

pytestmark = pytest.mark.slow

REQUIREMENT = "mlserver==1.7.1"
SIX = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
INSTALL_SECONDS, START_SECONDS = 900, 120

# A runtime as somebody would write it who knows MLServer and our contract.
RUNTIME = """
import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


class Quantiles(MLModel):
    async def load(self) -> bool:
        self.told = self.settings.parameters.extra
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = {one.name: one for one in payload.inputs}
        context = np.array(given["context"].data.root, dtype=np.float32)
        context = context.reshape(given["context"].shape)
        asked = payload.parameters.model_dump(exclude_none=True)
        if asked["model_hash"] != self.told["model_hash"]:
            raise ValueError("this is another model")
        steps = np.sqrt(np.arange(1, self.told["horizon"] + 1))[None, :, None]
        spread = np.linspace(-1.5, 1.7, self.told["levels"])[None, None, :]
        unit = np.exp(context[:, -1, 8])[:, None, None]
        quantiles = (unit * steps * spread).astype(np.float32)
        names = list(given["symbols"].data.root)
        echoed = {name: asked[name] for name in ("model_hash", "data_cutoff", "input_hash")}
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            outputs=[
                ResponseOutput(name="quantiles", datatype="FP32", shape=list(quantiles.shape),
                               data=quantiles.ravel().tolist()),
                ResponseOutput(name="symbols", datatype="BYTES", shape=[len(names)], data=names),
            ],
            parameters=Parameters(**echoed),
        )
"""


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """An environment with MLServer in it, on the disk: it is too large for memory."""
    if kept := os.environ.get("OPENBELL_TEST_MLSERVER_PYTHON"):
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="openbell-mlserver-") as home:
        venv.create(home, with_pip=True)
        found = Path(home) / "bin" / "python"
        if reason := why_not_installed(found):
            miss(f"{REQUIREMENT} COULD NOT BE INSTALLED, MLServer WAS NOT TRIED: {reason}")
        yield found


def why_not_installed(python: Path) -> str:
    command = [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"pip took over {INSTALL_SECONDS} s"
    return "".join(done.stderr.strip().splitlines()[-1:]) if done.returncode else ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def url(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("models")
    (home / "openbell_runtime.py").write_text(RUNTIME)
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "use_structured_logging": False}
    (home / "settings.json").write_text(json.dumps(settings | ports))
    told = {
        "model_hash": CARD.sha256,
        "horizon": CARD.horizon,
        "levels": len(CARD.levels),
    }
    model = {
        "name": "lstm",
        "implementation": "openbell_runtime.Quantiles",
        "parameters": {"extra": told},
    }
    (home / "model-settings.json").write_text(json.dumps(model))
    with (home / "mlserver.log").open("w+") as log, started(python, home, log) as child:
        address = f"http://127.0.0.1:{ports['http_port']}"
        wait_until_ready(child, address, log)
        yield address


@contextlib.contextmanager
def started(python: Path, home: Path, log: IO[str]) -> Iterator["subprocess.Popen[bytes]"]:
    command = [str(python.with_name("mlserver")), "start", str(home)]
    with subprocess.Popen(command, cwd=home, stdout=log, stderr=log) as child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def wait_until_ready(child: "subprocess.Popen[bytes]", address: str, log: IO[str]) -> None:
    for _ in range(START_SECONDS * 5):
        with contextlib.suppress(httpx.HTTPError):
            ready = httpx.get(f"{address}/v2/models/lstm/ready", trust_env=False)
            if ready.status_code == 200:
                return
        if child.poll() is not None:
            break
        time.sleep(0.2)
    log.seek(0)
    raise AssertionError(f"MLServer did not start: {log.read()[-2000:]}")


async def test_our_client_gets_forecasts_from_a_real_mlserver(url: str) -> None:
    async with remote_forecaster(url) as remote:
        found = await remote.forecast(history_of(*SIX), AS_OF)
        again = await remote.forecast(history_of(*SIX), AS_OF)

    assert sorted(found) == list(SIX)
    assert found == again
    forecast = found[Symbol("AAPL")]
    assert forecast.source is ForecastSource.REMOTE
    spread = np.array(forecast.quantiles)
    # The runtime answers evenly spaced quantiles; they must come back as it made them.
    np.testing.assert_allclose(np.diff(spread), np.diff(spread).mean(), atol=2e-6)
    assert spread[0] < 0 < spread[-1]


async def test_an_error_of_mlserver_is_told_in_its_words(url: str) -> None:
    async with remote_forecaster(url, model="nobody") as remote:
        with pytest.raises(ProviderUnavailable, match=r"answered 404.*nobody"):
            await remote.forecast(history_of(*SIX), AS_OF)


async def test_an_error_of_the_runtime_is_no_forecast(url: str) -> None:
    async with remote_forecaster(url) as remote:
        remote._card = dataclasses.replace(CARD, sha256="0" * 64)
        with pytest.raises(ProviderUnavailable, match="answered 500"):
            await remote.forecast(history_of(*SIX), AS_OF)
