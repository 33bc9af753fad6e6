"""The pre-market run by phase: what the daemon computes between its sources' answers.

The views of `premarket`; each phase alone, the CPU time of the best of five turns.  What is
left of a run is waiting for the sources and the disk.
"""

import asyncio
import datetime as dt
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.premarket import SIZES, RecordedClock, Vendor, gathered
from bench.table import Row
from daemon.event_loop import spare_collections
from domain.market import MarketView
from marketdata.session_calendar import NyseCalendar
from marketdata.validation import BarRules, validate
from risk.book import Book
from risk.settings import RiskLimits
from risk.sizing import plan
from sentiment.lexicon import LexiconScorer
from sentiment.news import select
from state.decisions import Decisions
from state.store import Store
from strategies.combine import combine, run_strategies
from strategies.registry import build_allocations, capital_of

_TURNS = 5
_MIN_CONFIDENCE = 0.6

Step = Callable[[], object]


def measure() -> list[Row]:
    """Time the phases for each size."""
    spare_collections()
    return [row for size in SIZES for row in _of_size(size)]


def _of_size(size: int) -> list[Row]:
    clock, vendor = RecordedClock(), Vendor(size, seconds=0)
    view = _view(vendor, clock)
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open(Path(directory), clock=clock)
        try:
            steps = _steps(vendor, view, Decisions(store))
            return [_row(size, name, _best(step)) for name, step in steps.items()]
        finally:
            store.close()


def _view(vendor: Vendor, clock: RecordedClock) -> MarketView:
    # On a loop of its own: asyncio.run writes out its result as text, seconds for a view.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(gathered(vendor, clock)).view
    finally:
        loop.close()


def _steps(vendor: Vendor, view: MarketView, decisions: Decisions) -> Mapping[str, Step]:
    last = view.session.date - dt.timedelta(days=1)
    sessions = NyseCalendar().sessions(last - dt.timedelta(days=800), last)
    allocations = build_allocations({}, min_confidence=_MIN_CONFIDENCE)
    signals = run_strategies(view, allocations)
    capital = capital_of(allocations)
    combined = combine(signals, capital=capital, min_confidence=_MIN_CONFIDENCE)
    book = Book(view=view, limits=RiskLimits())
    return {
        "bars validated": lambda: validate(
            vendor.bars, sessions, symbols=vendor.bars, rules=BarRules()
        ),
        "news selected": lambda: select(
            vendor.news, as_of=view.as_of, max_age=dt.timedelta(days=1)
        ),
        "news scored by the lexicon": lambda: asyncio.run(
            LexiconScorer().score(vendor.news, view.as_of)
        ),
        "strategies": lambda: run_strategies(view, allocations),
        "sizing": lambda: plan(book, combined),
        "decision hashed and stored": lambda: decisions.record("run", view, signals, combined),
    }


def _best(step: Step) -> float:
    turns: list[float] = []
    for _ in range(_TURNS):
        start = time.process_time()
        step()
        turns.append(time.process_time() - start)
    return min(turns)


def _row(size: int, name: str, seconds: float) -> Row:
    return Row(
        name=f"pre-market, {size} symbols: {name}",
        ours=1000 * seconds,
        unit="ms CPU",
        command="python -m bench premarket_phases",
    )
