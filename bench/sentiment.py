"""How often the scorers are right about headlines.

    python -m bench.sentiment HEADLINES.csv [--errors N]

The file has the columns text and label (0 bearish, 1 bullish, 2 neutral).  A hash of its
text puts each headline into one of three parts: `words` (half) was in view while the word
list was written, `table` (a quarter) sets the confidences, `judge` (a quarter) had no part
in either and gives the figures that count.  Plain VADER is measured when its package
(vaderSentiment) can be imported.
"""

import argparse
import collections
import csv
import hashlib
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from domain.clock import SystemClock
from sentiment import lexicon
from sentiment.cleaning import clean

Row = tuple[str, int]  # text, and -1 bearish, 0 neutral, 1 bullish
_LABELS = {"0": -1, "1": 1, "2": 0}
_PARTS = ("words", "table", "words", "judge")
_VADER_SPEAKS_FROM = 0.05  # the bound its authors give


def load(path: Path) -> dict[str, list[Row]]:
    """Read the headlines by part."""
    parts: dict[str, list[Row]] = {"words": [], "table": [], "judge": []}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            place = hashlib.sha256(line["text"].encode()).digest()[0] % 4
            parts[_PARTS[place]].append((line["text"], _LABELS[line["label"]]))
    return parts


def lexicon_call(text: str) -> int:
    """Return what the lexicon says of a headline: -1, 0 or 1."""
    score = lexicon.read(clean(text).text).score
    return (score > 0) - (score < 0)


def vader_call() -> Callable[[str], int] | None:
    """Return plain VADER, or None when it is not installed."""
    try:
        module = importlib.import_module("vaderSentiment.vaderSentiment")
    except ImportError:
        return None
    analyzer = module.SentimentIntensityAnalyzer()

    def call(text: str) -> int:
        score: float = analyzer.polarity_scores(text)["compound"]
        return (score >= _VADER_SPEAKS_FROM) - (score <= -_VADER_SPEAKS_FROM)

    return call


def measure(name: str, rows: Sequence[Row], call: Callable[[str], int]) -> None:
    """Print accuracy, precision and recall, and the speed."""
    clock = SystemClock()
    start = clock.monotonic()
    pairs = [(label, call(text)) for text, label in rows]
    speed = len(rows) / (clock.monotonic() - start)
    right = sum(a == b for a, b in pairs)
    spoken = [(a, b) for a, b in pairs if b]
    print(f"{name}: {len(rows)} headlines, accuracy {right / len(rows):.3f}, {speed:,.0f} a second")
    if spoken:
        hits = sum(a == b for a, b in spoken) / len(spoken)
        opposed = sum(a == -b for a, b in spoken) / len(spoken)
        share = len(spoken) / len(rows)
        print(f"  speaks on {share:.3f}, then right {hits:.3f}, opposite {opposed:.3f}")
    for label, word in ((1, "bullish"), (-1, "bearish"), (0, "neutral")):
        said = sum(b == label for _, b in pairs)
        real = sum(a == label for a, _ in pairs)
        both = sum(a == b == label for a, b in pairs)
        precision = both / said if said else float("nan")
        print(f"  {word}: precision {precision:.3f}, recall {both / real:.3f}, n {real}")


def table(rows: Sequence[Row]) -> None:
    """Print the share of right calls by strength, one added each way so that none is 1."""
    seen: dict[tuple[int, float], list[bool]] = collections.defaultdict(list)
    for text, label in rows:
        raw = lexicon.weigh(clean(text).text)
        if abs(raw) >= lexicon.SPEAKS_FROM:
            sign = 1 if raw > 0 else -1
            bound = max(b for b in lexicon.BOUNDS if b <= abs(raw))
            seen[sign, bound].append(label == sign)
    for (sign, bound), hits in sorted(seen.items()):
        print(f"  {sign:+d} from {bound}: {(sum(hits) + 1) / (len(hits) + 2):.2f} of {len(hits)}")


def reliability(rows: Sequence[Row]) -> None:
    """Print what the scorer's confidence claimed beside what was right."""
    claimed: list[float] = []
    hits: list[bool] = []
    for text, label in rows:
        reading = lexicon.read(clean(text).text)
        if reading.score:
            claimed.append(reading.confidence)
            hits.append((label > 0) == (reading.score > 0) and label != 0)
    print(f"  claimed {sum(claimed) / len(claimed):.3f}, right {sum(hits) / len(hits):.3f}")


def errors(rows: Sequence[Row], count: int) -> None:
    """Print headlines that were called wrong."""
    wrong = [(text, label) for text, label in rows if lexicon_call(text) != label]
    for text, label in wrong[:count]:
        print(f"  {label:+d} called {lexicon.weigh(clean(text).text):+.1f}: {text}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("--errors", type=int, default=0)
    arguments = parser.parse_args()
    parts = load(arguments.headlines)
    for part, rows in parts.items():
        measure(f"lexicon on {part}", rows, lexicon_call)
    print("confidence table (part `table`):")
    table(parts["table"])
    print("confidence on part `judge`:")
    reliability(parts["judge"])
    vader = vader_call()
    if vader is not None:
        measure("plain VADER on judge", parts["judge"], vader)
    counts = collections.Counter(label for _, label in parts["judge"])
    print(f"majority class on judge: {max(counts.values()) / len(parts['judge']):.3f}")
    errors(parts["words"], arguments.errors)


if __name__ == "__main__":
    main()
