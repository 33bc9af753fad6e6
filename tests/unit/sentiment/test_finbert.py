"""A local model of the user's own: the real worker process on a tiny model of a BERT's shape."""

import dataclasses
import datetime as dt
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from domain.clock import UTC
from domain.errors import ConfigError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentLabel
from sentiment.canaries import canaries
from sentiment.finbert import FinBertScorer, FinBertSettings
from tests.support.tiny_bert import write_tiny_bert

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
AS_OF = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
GOOD, BAD = (
    next(one.headline for one in canaries() if one.label is label)
    for label in (SentimentLabel.BULLISH, SentimentLabel.BEARISH)
)


def settings(directory: Path, **changes: Any) -> FinBertSettings:
    order = changes.pop("order", (0, 1, 2))
    digest = write_tiny_bert(directory, order=order)
    made = FinBertSettings(
        model=directory / "model.onnx", tokenizer=directory / "tokenizer.json", sha256=digest
    )
    return dataclasses.replace(made, **changes)


def item(number: int, headline: str, *symbols: Symbol) -> NewsItem:
    return NewsItem(
        item_id=str(number),
        source=f"wire {number}",
        published_at=AS_OF - dt.timedelta(hours=number),
        headline=headline,
        symbols=symbols or (AAPL,),
    )


async def test_headlines_are_scored_and_the_canaries_are_the_confidence(tmp_path: Path) -> None:
    scorer = FinBertScorer.load(settings(tmp_path))
    items = [item(1, GOOD), item(2, BAD, MSFT), item(3, "Words nobody knows", MSFT)]

    scores = await scorer.score(items, AS_OF)

    assert (scores[AAPL].label, scores[AAPL].source) == (SentimentLabel.BULLISH, "finbert")
    assert scores[MSFT].label is SentimentLabel.BEARISH
    assert scores[AAPL].confidence == pytest.approx(21 / 22)


async def test_the_order_of_the_outputs_is_configuration(tmp_path: Path) -> None:
    labels = ("neutral", "positive", "negative")
    scorer = FinBertScorer.load(settings(tmp_path, order=(1, 2, 0), labels=labels))

    scores = await scorer.score([item(1, GOOD)], AS_OF)

    assert scores[AAPL].label is SentimentLabel.BULLISH


async def test_s09_a_model_that_calls_the_canaries_wrong_is_not_believed(tmp_path: Path) -> None:
    scorer = FinBertScorer.load(settings(tmp_path, order=(1, 0, 2)))

    with pytest.raises(ProviderUnavailable, match=r"canaries right.*sentiment\.finbert\.labels"):
        await scorer.score([item(1, GOOD)], AS_OF)


async def test_s02_a_headline_that_hides_something_is_not_shown_to_the_model(
    tmp_path: Path,
) -> None:
    scorer = FinBertScorer.load(settings(tmp_path))

    scores = await scorer.score([item(1, f"{GOOD}\u200b")], AS_OF)

    assert scores[AAPL].score == 0


async def test_s11_a_model_that_is_too_slow_is_ended(tmp_path: Path) -> None:
    scorer = FinBertScorer.load(settings(tmp_path, run_seconds=0.01))

    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.01 s"):
        await scorer.score([item(1, GOOD)], AS_OF)


async def test_a_model_that_was_changed_since_the_start_is_not_run(tmp_path: Path) -> None:
    scorer = FinBertScorer.load(settings(tmp_path))
    write_tiny_bert(tmp_path, order=(1, 0, 2))

    with pytest.raises(ProviderUnavailable, match=r"not the one that sentiment\.finbert\.sha256"):
        await scorer.score([item(1, GOOD)], AS_OF)


async def test_a_file_that_is_no_model_costs_the_run_its_opinion_only(tmp_path: Path) -> None:
    made = settings(tmp_path)
    made.model.write_bytes(b"\x08\x08 no model")
    digest = hashlib.sha256(made.model.read_bytes()).hexdigest()
    scorer = FinBertScorer.load(dataclasses.replace(made, sha256=digest))

    with pytest.raises(ProviderUnavailable, match="finbert: "):
        await scorer.score([item(1, GOOD)], AS_OF)


@pytest.mark.parametrize("content", [pickle.dumps(os.getcwd), b"PK\x03\x04 an archive"])
def test_a_pickle_is_refused_before_anything_reads_it(tmp_path: Path, content: bytes) -> None:
    made = settings(tmp_path)
    made.model.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()

    with pytest.raises(ConfigError, match=r"sentiment\.finbert\.model .*could run code"):
        FinBertScorer.load(dataclasses.replace(made, sha256=digest))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sha256": ""}, r"finbert\.sha256: model\.onnx has [0-9a-f]{64}; set that"),
        ({"sha256": "0" * 64}, r"finbert\.sha256: model\.onnx has"),
        ({"model": Path("nowhere.onnx")}, r"finbert\.model = 'nowhere\.onnx': cannot be read"),
        ({"tokenizer": Path("nowhere.json")}, r"finbert\.tokenizer .*cannot be read"),
        ({"labels": ("good", "bad", "neutral")}, r"finbert\.labels must name positive"),
    ],
)
def test_what_cannot_serve_is_refused_at_the_start(
    tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(ConfigError, match=part):
        FinBertScorer.load(settings(tmp_path, **changes))
