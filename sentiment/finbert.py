"""A BERT that reads financial headlines, where the user has its weights as ONNX.

The weights are not shipped: theirs is a licence of their own.  The model answers in a
process of its own, within a time limit, and must call the canaries right in every run; the
share it gets right is its confidence.
"""

import asyncio
import datetime as dt
import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import ConfigError, ProviderUnavailable
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentScore
from sentiment.aggregation import Reading, aggregate
from sentiment.canaries import PASSES_FROM, canaries, share_right
from sentiment.news import readable

LABELS = ("positive", "negative", "neutral")
_WORKER = "sentiment.finbert_worker"
_PICKLED = (b"\x80", b"PK")
_VARIABLES = ("PATH", "LANG", "TMPDIR")
_SUM_TO_ONE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class FinBertSettings:
    """Which model, and how long it may take.

    ``labels`` is the order of the model's outputs; ``run_seconds`` are real seconds.
    """

    model: Path
    tokenizer: Path
    sha256: str
    labels: tuple[str, ...] = LABELS
    run_seconds: float = 30.0
    max_headlines: int = 200


class FinBertScorer:
    """A SentimentScorer on local weights."""

    name = "finbert"

    def __init__(self, settings: FinBertSettings) -> None:
        self._settings = settings

    @classmethod
    def load(cls, settings: FinBertSettings) -> "FinBertScorer":
        """Check the files and build the scorer; the model is read when it is asked.

        Raises:
            ConfigError: a file or a package is missing, or is not what was meant.
        """
        if importlib.util.find_spec("tokenizers") is None:
            raise ConfigError(
                "sentiment.finbert.model is set, which needs tokenizers;"
                " run `pip install tokenizers`"
            )
        if sorted(settings.labels) != sorted(LABELS):
            raise ConfigError(
                f"sentiment.finbert.labels must name {', '.join(LABELS)} in the order of the"
                " model's outputs"
            )
        _check_model(settings)
        _check_tokenizer(settings.tokenizer)
        return cls(settings)

    async def score(
        self, items: Sequence[NewsItem], as_of: dt.datetime
    ) -> Mapping[Symbol, SentimentScore]:
        """Score every symbol that the items are tagged with.

        Raises:
            ProviderUnavailable: the model did not answer in time, or not as it should.
        """
        texts = readable(items, most=self._settings.max_headlines)
        if not texts:
            return aggregate(items, {}, source=self.name, as_of=as_of)
        known = [canary.headline for canary in canaries()]
        scores = await asyncio.to_thread(self._read, [*known, *texts.values()])
        share = share_right(scores[: len(known)])
        if not share >= PASSES_FROM:
            raise ProviderUnavailable(
                f"finbert: {share:.0%} of the canaries right, {PASSES_FROM:.0%} needed; check"
                " sentiment.finbert.labels"
            )
        readings = {
            item_id: Reading(score=score, confidence=share)
            for item_id, score in zip(texts, scores[len(known) :], strict=True)
        }
        return aggregate(items, readings, source=self.name, as_of=as_of)

    def _read(self, texts: Sequence[str]) -> list[float]:
        settings = self._settings
        request = {
            "model": str(settings.model.resolve()),
            "tokenizer": str(settings.tokenizer.resolve()),
            "sha256": settings.sha256.lower(),
            "texts": list(texts),
        }
        try:
            done = subprocess.run(  # noqa: S603 - a module of ours
                (sys.executable, "-m", _WORKER),
                input=json.dumps(request).encode(),
                capture_output=True,
                timeout=settings.run_seconds,
                env=_environment(),
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as exc:
            raise ProviderUnavailable(
                f"finbert: no answer within {settings.run_seconds:g} s"
            ) from exc
        except OSError as exc:
            raise ProviderUnavailable(f"finbert: its process cannot start ({exc})") from exc
        return [self._lean(row) for row in _rows(done.stdout, done.returncode, len(texts))]

    def _lean(self, row: object) -> float:
        """Return good news less bad news, in [-1, 1]; 0 where neither is the likeliest."""
        if not isinstance(row, list) or len(row) != len(LABELS) or not all(map(_is_share, row)):
            raise ProviderUnavailable("finbert: an answer is no three probabilities")
        if not abs(math.fsum(row) - 1) <= _SUM_TO_ONE:
            raise ProviderUnavailable("finbert: probabilities do not add up to 1")
        shares = dict(zip(self._settings.labels, row, strict=True))
        if shares["neutral"] == max(row):
            return 0.0
        lean: float = shares["positive"] - shares["negative"]
        return min(1.0, max(-1.0, lean))


def _rows(output: bytes, status: int, count: int) -> Sequence[object]:
    try:
        answer: Any = json.loads(output)
        error, rows = answer.get("error"), answer.get("probabilities")
    except (ValueError, AttributeError) as exc:
        raise ProviderUnavailable(f"finbert: its process ended with status {status}") from exc
    if error is not None:
        raise ProviderUnavailable(f"finbert: {error}")
    if not isinstance(rows, list) or len(rows) != count:
        raise ProviderUnavailable("finbert: not one answer for each headline")
    return rows


def _is_share(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1


def _check_model(settings: FinBertSettings) -> None:
    key = "sentiment.finbert.model"
    try:
        with settings.model.open("rb") as file:
            if file.read(2).startswith(_PICKLED):
                raise ConfigError(
                    f"{key} = {str(settings.model)!r}: a pickle or an archive, which could run"
                    " code; export the model to one ONNX file"
                )
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"{key} = {str(settings.model)!r}: cannot be read ({exc})") from exc
    if found != settings.sha256.lower():
        raise ConfigError(
            f"sentiment.finbert.sha256: {settings.model.name} has {found}; set that if the file"
            " is the one you mean"
        )


def _check_tokenizer(path: Path) -> None:
    key = "sentiment.finbert.tokenizer"
    try:
        is_fit = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{key} = {str(path)!r}: cannot be read ({exc})") from exc
    if not is_fit:
        raise ConfigError(f"{key} = {str(path)!r}: not a tokenizer.json")


def _environment() -> dict[str, str]:
    # Whatever secrets our environment holds, a model does not need them.
    kept = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
