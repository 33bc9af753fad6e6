"""What hostile headlines reach: share beyond the bound, and mean effect as a share of it.

    python -m bench.red_team [HEADLINES.json]

Each headline stands alone before a book that holds its symbol; the effect is the change
of that weight over the largest change the tilt allows.
"""

import asyncio
import collections
import datetime as dt
import json
import sys
from pathlib import Path

from domain.clock import UTC
from domain.ids import Symbol
from domain.market import NewsItem
from sentiment.lexicon import LexiconScorer
from sentiment.scoring import tilted

_DATA = Path(__file__).parents[1] / "tests" / "data" / "hostile-headlines.json"
_NOW = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)
_SYMBOL = Symbol("ACME")
_MAX_TILT = 0.1


async def reach(text: str) -> float:
    """Return the effect of one headline, as a share of the bound."""
    item = NewsItem(
        item_id="one",
        source="adversary",
        published_at=_NOW - dt.timedelta(hours=1),
        headline=text,
        symbols=(_SYMBOL,),
    )
    scores = await LexiconScorer().score([item], _NOW)
    return abs(tilted(1.0, scores[_SYMBOL], _MAX_TILT) - 1.0) / _MAX_TILT


async def main() -> None:
    """Print one line a kind."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else _DATA
    kinds: dict[str, list[float]] = collections.defaultdict(list)
    for item in json.loads(path.read_text("utf-8")):
        kinds[item["kind"]].append(await reach(item["text"]))
    kinds["all"] = [one for some in list(kinds.values()) for one in some]
    print(f"{'kind':10} {'items':>5} {'beyond':>7} {'any':>6} {'mean':>6} {'most':>6}")
    for kind, effects in kinds.items():
        beyond = sum(one > 1 for one in effects)
        spoke = sum(one > 0 for one in effects) / len(effects)
        mean = sum(effects) / len(effects)
        print(f"{kind:10} {len(effects):5} {beyond:7} {spoke:6.2f} {mean:6.3f} {max(effects):6.3f}")


if __name__ == "__main__":
    asyncio.run(main())
