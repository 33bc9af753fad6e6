"""The process that trains a candidate: a request on standard input, the outcome on standard output.

It is started by ``daemon.after_close.retraining`` and holds torch, which the daemon never does.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.after_close.training_data import (
    Panel,
    file_panel,
    recorded_panel,
    stored_panel,
)
from domain.errors import OpenbellError
from forecasts.model_store import SHIPPED, ModelStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to train, on which bars before ``until``, measured ``step`` sessions ahead.

    ``bars`` is the folder of stored bars, or where ``are_files`` of one's own, None for the
    recorded ones; ``recipe`` replaces values of the training recipe.
    """

    models: str
    bars: str | None
    symbols: Sequence[str]
    model: str
    until: str
    step: int
    promote: bool
    are_files: bool = False
    recipe: dict[str, Any] = field(default_factory=dict)


def main() -> int:
    """Serve one request; an error is one sentence on standard error."""
    _offer_itself()
    try:
        # The answer alone is on standard output, whatever a library or a log has to say.
        with contextlib.redirect_stdout(sys.stderr):
            outcome = retrain(Request(**json.load(sys.stdin)))
    except OpenbellError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    json.dump(outcome, sys.stdout)
    return 0


def retrain(request: Request) -> dict[str, Any]:
    """Train, publish, measure against the model in use, and promote by the rule.

    Raises:
        OpenbellError: it could not be trained or measured; the model in use stays.
    """
    root, name = Path(request.models), request.model
    store = ModelStore((root, SHIPPED))
    champion = _champion(store, name)
    panel = _panel(request)
    # Only now: torch takes seconds to load, and without bars there is nothing to do.
    from forecasts.training.challenge import challenge
    from forecasts.training.config import TrainingConfig
    from forecasts.training.sandbox import fit_in
    from forecasts.training.train import new_version, publish_model, train
    from forecasts.training.windows import spans_until

    fit_in()
    spans = spans_until(panel, dt.date.fromisoformat(request.until))
    config = TrainingConfig(model=name, spans=spans, **request.recipe)
    if config.horizon < request.step:
        # The recipe's horizon is the default of the daemon's, which may look further ahead.
        config = dataclasses.replace(config, horizon=request.step)
    trained = train(config, panel, version=new_version(root, name))
    publish_model(trained, root)
    candidate = store.load(name, trained.card.version)
    if champion is None:
        store.promote(name, trained.card.version)
        return {"candidate": trained.card.title, "champion": None, "is_promoted": True}
    known = {symbol: columns.before(spans.end) for symbol, columns in panel.items()}
    found = challenge(candidate, store.load(name), known, step=request.step)
    is_promoted = found.is_better and request.promote
    if is_promoted:
        store.promote(name, trained.card.version)
    return {
        "candidate": found.candidate,
        "champion": found.champion,
        "is_better": found.is_better,
        "is_promoted": is_promoted,
        "reasons": list(found.reasons),
        "step": found.step,
        "windows": found.windows,
        "gain": found.gain,
        "margin": found.critical * found.error,
        "figures": {who: dict(figures) for who, figures in found.figures.items()},
    }


def _offer_itself() -> None:
    """Where memory runs out this process ends first, not the daemon beside it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _champion(store: ModelStore, name: str) -> str | None:
    # A pointer that cannot be read is not "none": what came after it would be in use unjudged.
    return store.current(name) if name in store.names() and store.is_used(name) else None


def _panel(request: Request) -> Panel:
    if request.bars is None:
        return recorded_panel(dt.date.fromisoformat(request.until))
    read = file_panel if request.are_files else stored_panel
    return read(Path(request.bars), request.symbols)


if __name__ == "__main__":
    sys.exit(main())
