"""Each provider of the configuration, built, used and closed; a SDK only where it is asked for."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.config import Config, load
from daemon.sources.engines import Engines, open_engines
from domain.clock import LoopClock
from domain.errors import ConfigError
from marketdata.csv_files import FileBars
from marketdata.event_files import FileEvents
from marketdata.sample import SampleBars
from marketdata.session_calendar import NyseCalendar
from marketdata.stored import StoredBars
from sentiment.lexicon import LexiconScorer
from state.breakers import Breakers
from state.facts import Facts
from state.store import Store
from tests.support.scripted_server import ScriptedServer, answer
from tests.support.tiny_bert import write_tiny_bert
from tests.support.vendor_day import ENVIRON, START, story
from tests.support.workers_ai import ACCOUNT, failure, knows_canaries, llama, path

REPOSITORY = Path(__file__).parents[3]
STORY = story(1, "Apple beats estimates", "AAPL")


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    for name, text in ENVIRON.items():
        monkeypatch.setenv(name, text)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store.open(tmp_path / "state", clock=LoopClock(START, asyncio.get_running_loop()))
    yield made
    made.close()


@pytest.fixture
async def cloudflare() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


def config(tmp_path: Path, **environ: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[universe]\nsymbols = ["AAPL"]\n[state]\ndirectory = "{tmp_path / "state"}"\n'
    )
    return load(file, {f"OPENBELL__{name}": text for name, text in environ.items()})


def workers_ai(server: ScriptedServer, **more: str) -> dict[str, str]:
    prefix = "SENTIMENT__CLOUDFLARE__"
    settings = {"ACCOUNT_ID": ACCOUNT, "URL": server.url, **more}
    return {f"{prefix}{name}": text for name, text in settings.items()}


@contextlib.asynccontextmanager
async def opened(settings: Config, store: Store) -> AsyncIterator[Engines]:
    clock = LoopClock(START, asyncio.get_running_loop())
    async with open_engines(
        settings, store, clock=clock, calendar=NyseCalendar(), time_scale=1.0
    ) as engines:
        yield engines


async def sources(engines: Engines) -> set[str]:
    scores = await engines.scorer.score([STORY], START)
    return {score.source for score in scores.values()}


async def test_the_default_is_what_ships(tmp_path: Path, store: Store) -> None:
    async with opened(config(tmp_path), store) as engines:
        assert isinstance(engines.feed.bars, SampleBars)
        assert (engines.feed.actions, engines.feed.earnings) == (None, None)
        assert engines.news.name == "sample"
        assert isinstance(engines.scorer, LexiconScorer)


async def test_files_of_ones_own_and_an_events_file(tmp_path: Path, store: Store) -> None:
    settings = config(
        tmp_path,
        MARKETDATA__PROVIDER="csv",
        MARKETDATA__CSV__DIRECTORY=str(tmp_path),
        MARKETDATA__EVENTS_FILE=str(tmp_path / "events.csv"),
        NEWS__PROVIDER="none",
    )

    async with opened(settings, store) as engines:
        assert isinstance(engines.feed.bars, FileBars)
        assert isinstance(engines.feed.earnings, FileEvents)
        assert engines.news.name == "none"


async def test_alpaca_has_the_store_in_front_and_tells_corporate_actions(
    tmp_path: Path, store: Store
) -> None:
    async with ScriptedServer() as alpaca:
        alpaca.on("GET", "/v2/stocks/bars", answer(200, {"bars": {}, "next_page_token": None}))
        providers = {"MARKETDATA__PROVIDER": "alpaca", "NEWS__PROVIDER": "alpaca"}
        settings = config(tmp_path, MARKETDATA__ALPACA__DATA_URL=alpaca.url, **providers)
        await check_alpaca(settings, store)


async def check_alpaca(settings: Config, store: Store) -> None:
    async with opened(settings, store) as engines:
        assert isinstance(engines.feed.bars, StoredBars)
        assert engines.feed.bars.name == "alpaca"
        assert engines.feed.actions is not None
        assert engines.news.name == "alpaca"


async def test_two_news_sources_share_a_desk(tmp_path: Path, store: Store) -> None:
    settings = config(
        tmp_path,
        NEWS__PROVIDER="alpaca+rss",
        NEWS__RSS_URLS='["https://feeds.example/{symbol}"]',
    )

    async with opened(settings, store) as engines:
        assert engines.news.name == "alpaca+rss"


async def test_vendor_keys_are_never_those_of_the_embedded_broker(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID")
    settings = config(tmp_path, MARKETDATA__PROVIDER="alpaca")
    assert settings.broker.kind == "embedded"

    with pytest.raises(ConfigError, match="APCA_API_KEY_ID is missing"):
        async with opened(settings, store):
            pass


def test_rss_without_feeds_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"news\.rss_urls must name the feeds"):
        config(tmp_path, NEWS__PROVIDER="rss")


async def test_an_account_without_its_token_leaves_the_lexicon_alone(
    tmp_path: Path, store: Store, cloudflare: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")

    async with opened(config(tmp_path, **workers_ai(cloudflare)), store) as engines:
        assert await sources(engines) == {"lexicon"}
    assert cloudflare.seen == []


async def test_workers_ai_scores_and_its_neurons_outlive_the_process(
    tmp_path: Path, store: Store, cloudflare: ScriptedServer
) -> None:
    cloudflare.on("POST", path(), llama(knows_canaries(lambda _: 0.8)))

    async with opened(config(tmp_path, **workers_ai(cloudflare)), store) as engines:
        assert await sources(engines) == {"cloudflare"}
    assert cloudflare.seen[0].headers["authorization"] == "Bearer cf-token"
    noted = json.loads(Facts(store).get("workers_ai_neurons") or "")
    # 60 tokens in and 10 out for each call, at the configured rates.
    assert noted["neurons"] == pytest.approx(len(cloudflare.seen) * 3.64813)

    spent = str(int(noted["neurons"]))
    calls = len(cloudflare.seen)
    poor = config(tmp_path, **workers_ai(cloudflare, DAILY_NEURON_BUDGET=spent))
    async with opened(poor, store) as engines:
        assert await sources(engines) == {"lexicon"}
    assert len(cloudflare.seen) == calls


async def test_a_dead_scorer_stays_known_as_dead_after_a_restart(
    tmp_path: Path, store: Store, cloudflare: ScriptedServer
) -> None:
    cloudflare.on("POST", path(), answer(410, failure(5028, "model is gone")))
    settings = config(tmp_path, **workers_ai(cloudflare))

    async with opened(settings, store) as engines:
        assert await sources(engines) == {"lexicon"}
    calls = len(cloudflare.seen)
    assert calls > 0
    assert Breakers(store).all()["sentiment"].state == "open"
    async with opened(settings, store) as engines:
        assert await sources(engines) == {"lexicon"}
    assert len(cloudflare.seen) == calls


async def test_rates_of_the_configuration_are_those_that_are_reserved(
    tmp_path: Path, store: Store, cloudflare: ScriptedServer
) -> None:
    cloudflare.on("POST", path(), llama(knows_canaries(lambda _: 0.8)))
    dear = workers_ai(cloudflare, NEURONS_PER_MILLION_TOKENS_OUT="10000000")

    async with opened(config(tmp_path, **dear), store) as engines:
        assert await sources(engines) == {"cloudflare"}
    noted = json.loads(Facts(store).get("workers_ai_neurons") or "")
    assert noted["neurons"] == pytest.approx(len(cloudflare.seen) * 101.60008)


def test_the_default_imports_no_vendor() -> None:
    heavy = {"alpaca", "yfinance", "sentiment.cloudflare", "sentiment.rss", "marketdata.yahoo"}
    code = f"import sys, daemon.sources.engines; sys.exit(bool({heavy!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, timeout=60)

    assert done.returncode == 0


async def test_a_model_of_ones_own_answers_and_the_lexicon_where_it_does_not(
    tmp_path: Path, store: Store
) -> None:
    keys = {
        "SENTIMENT__FINBERT__MODEL": str(tmp_path / "model.onnx"),
        "SENTIMENT__FINBERT__SHA256": write_tiny_bert(tmp_path),
    }

    async with opened(config(tmp_path, **keys), store) as engines:
        assert await sources(engines) == {"finbert"}
        (tmp_path / "model.onnx").write_bytes(b"another")
        assert await sources(engines) == {"lexicon"}

    assert Breakers(store).get("finbert") is not None
    with pytest.raises(ConfigError, match=r"sentiment\.finbert\.sha256"):
        async with opened(config(tmp_path, **keys), store):
            pass
