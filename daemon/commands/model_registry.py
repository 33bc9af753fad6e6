"""What ``openbell models`` does with the registry."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from daemon.command_line import Options
from daemon.commands.model_config import config_or_defaults, has_config, store_of
from daemon.commands.output import console, print_json, print_pairs, print_table
from daemon.config import ForecastsConfig, state_directory
from domain.errors import BadArgument, ConfigError, OpenbellError, StateError
from execution.gathering import MOST_BARS
from forecasts.card import ModelCard
from forecasts.comparison import COLUMNS, Row, promotion, verdict
from forecasts.comparison import compare as compared
from forecasts.local import LocalForecaster
from forecasts.model_files import StoredModel
from forecasts.model_store import ModelStore
from forecasts.packaging import PackageFormat, package
from state.files import create_directory

_LISTED = {
    "model": "model",
    "in_use": "in use",
    "data_cutoff": "data until",
    "horizon": "sessions",
    "lookback": "look-back",
    "parameters": "weights",
    "model_hash": "SHA-256",
    "problem": "problem",
}
_HASH_SHOWN = 12
_TAKEN_UP = (
    "A running daemon takes it up with its next forecast, a model server at once; a daemon that"
    " asks a server expects the new one from its next start."
)
_HEADINGS = ("MSE", "RMSE", "MAE", "R2", "MAPE %", "R2 price", "pinball", "80 %", "right", "Brier")
_SHOWN = {
    "step": "sessions",
    "accuracy": "right",
    "accuracy_always_up": 'always "up"',
    "brier": "Brier",
    "brier_base_rate": "base rate",
    "pinball": "pinball",
    "pinball_unconditional": "unconditional",
    "coverage_of_80_band": "80 % holds",
}


def listing(options: Options) -> None:
    """Print every version of every model."""
    store = _store(options)
    rows = [
        _line(store, name, version, is_in_use=version == _current(store, name))
        for name in store.names()
        for version in store.versions(name)
    ]
    if options.json:
        print_json(rows)
        return
    shown = [
        {
            **row,
            "model": f"{row['name']}/{row['version']}",
            "model_hash": str(row["model_hash"])[:_HASH_SHOWN],
            "in_use": "yes" if row["in_use"] else "",
        }
        for row in rows
    ]
    columns = dict(_LISTED)
    if not any(row["problem"] for row in rows):
        del columns["problem"]
    print_table("", columns, shown, empty="No models; run `openbell train lstm`.")


def show(options: Options, *, name: str, version: str | None) -> None:
    """Print one card."""
    stored = _store(options).load(name, version)
    card = stored.card
    if options.json:
        print_json(_described(card) | {"directory": str(stored.directory)})
        return
    print_pairs(
        [
            ("model", card.title),
            ("SHA-256", card.sha256),
            ("input", f"{card.lookback} sessions of {len(card.features)} features"),
            ("features", card.features),
            ("output", f"{len(card.levels)} quantiles of 1 to {card.horizon} sessions"),
            ("levels", [f"{level:g}" for level in card.levels]),
            ("weights", f"{card.parameters:,}"),
            ("fitted on", _span(card.training_span)),
            ("stopped on", _span(card.validation_span)),
            ("calibrated on", _span(card.calibration_span)),
            ("data until", card.data_cutoff),
            ("directory", stored.directory),
        ]
    )
    console().print()
    rows = [{"step": step, **figures} for step, figures in _by_step(card).items()]
    print_table("", _SHOWN, rows, empty="It was never measured.")


def compare(options: Options, *, names: Sequence[str], step: int | None) -> None:
    """Print models beside their baselines, one table for each set of windows."""
    store = _store(options)
    cards = [_card(store, name) for name in names or store.names()]
    if not cards:
        raise ConfigError("there is no model to compare; run `openbell train lstm`")
    documents = []
    for group in _groups(cards):
        ahead = _common_step(group) if step is None else step
        documents.append((ahead, compared(group, ahead), verdict(group, ahead)))
    if options.json:
        print_json([_comparison(*document) for document in documents])
        return
    if len(documents) > 1:
        console().print("Measured on different windows; only figures of one table compare.\n")
    for ahead, rows, sentence in documents:
        _print_comparison(ahead, rows, sentence)


def promote(options: Options, *, name: str, version: str, is_forced: bool) -> None:
    """Put a version in use; a newer one only by the rule.

    Raises:
        OpenbellError: the rule is against it.
    """
    store = _store(options)
    stored = store.candidate(name, version)
    _refuse_unusable(options, stored)
    candidate, before = stored.card, _current(store, name)
    is_newer = before is not None and int(version) > int(before)
    decision = promotion(candidate, store.card(name, before)) if is_newer else None
    if decision is not None and not decision.is_allowed and not is_forced:
        raise OpenbellError(
            f"{candidate.title} is not promoted: {'; '.join(decision.reasons)}; "
            "--regardless overrules the rule"
        )
    create_directory(state_directory(config_or_defaults(options)))
    try:
        store.promote(name, version)
    except OSError as exc:
        raise StateError(
            f"the registry of {name} cannot be written ({exc.strerror}); run this as its owner"
        ) from exc
    reasons = [] if decision is None else list(decision.reasons)
    if options.json:
        print_json({"name": name, "version": version, "before": before, "overruled": reasons})
        return
    console().print(f"{candidate.title} is in use; before it {before or 'none'}.")
    for reason in reasons:
        console().print(f"Overruled: {reason}.")
    console().print(_what_follows(options, name))


def rollback(options: Options, *, name: str) -> None:
    """Put the version in use that was before the one that is.

    Raises:
        StateError: there was none.
        ConfigError: the configuration could not use it.
    """
    store = _store(options)
    _refuse_unusable(options, store.before(name))
    before = _current(store, name)
    try:
        version = store.roll_back(name)
    except OSError as exc:
        raise StateError(
            f"the registry of {name} cannot be written ({exc.strerror}); run this as its owner"
        ) from exc
    if options.json:
        print_json({"name": name, "version": version, "before": before})
        return
    console().print(f"{name}/{version} is in use again; before it {before}.")
    console().print(_what_follows(options, name))


def export(options: Options, *, name: str, form: str, out: Path, version: str | None) -> None:
    """Write a model for another place.

    Raises:
        BadArgument: no such format.
    """
    known = [one.value for one in PackageFormat]
    if form not in known:
        raise BadArgument(f"--format {form}: choose from {', '.join(sorted(known))}")
    stored = _store(options).load(name, version)
    try:
        package(stored, PackageFormat(form), out)
    except OSError as exc:
        raise StateError(f"{out} cannot be written ({exc.strerror}); choose another --out") from exc
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    if options.json:
        print_json({"model": stored.card.title, "format": form, "out": str(out), "files": files})
        return
    console().print(f"{stored.card.title} as {form} in {out}:")
    for file in files:
        console().print(f"  {file}")


def _refuse_unusable(options: Options, model: StoredModel) -> None:
    """Refuse what the daemon of this configuration could not forecast with.

    A running one would tell that in its log and go on, and not start again.

    Raises:
        ConfigError: too short a horizon, too long a look-back, or features it cannot compute.
    """
    if not has_config(options):
        return
    settings = config_or_defaults(options).forecasts
    if model.card.name not in _forecasting(settings):
        return
    needed = LocalForecaster(model, horizon=settings.horizon).bars_needed
    if needed > MOST_BARS:
        raise ConfigError(
            f"model {model.card.title} needs {needed} bars of a symbol, and a decision reads"
            f" {MOST_BARS}; train one with a shorter --window"
        )


def _forecasting(settings: ForecastsConfig) -> set[str]:
    remote = {settings.remote.model} if settings.remote.url else set()
    return {settings.local.model} | remote


def _what_follows(options: Options, name: str) -> str:
    settings = config_or_defaults(options).forecasts
    if not has_config(options) or name in _forecasting(settings):
        return _TAKEN_UP
    # Of its own name it is the one in use; that does not make it the model of the daemon.
    return (
        f"The configuration here forecasts with another model, forecasts.local.model ="
        f' "{settings.local.model}", and goes on with it until that says "{name}".'
    )


def _store(options: Options) -> ModelStore:
    return store_of(config_or_defaults(options))


def _current(store: ModelStore, name: str) -> str | None:
    try:
        return store.current(name)
    except StateError:
        return None


def _card(store: ModelStore, title: str) -> ModelCard:
    name, _, version = title.partition("/")
    return store.load(name, version or None).card


def _line(store: ModelStore, name: str, version: str, *, is_in_use: bool) -> dict[str, Any]:
    line: dict[str, Any] = {"name": name, "version": version, "in_use": is_in_use}
    keys = ("data_cutoff", "horizon", "lookback", "parameters", "model_hash")
    try:
        described = _described(store.load(name, version).card)
    except (ConfigError, StateError) as exc:
        return line | dict.fromkeys(keys) | {"problem": str(exc)}
    return line | {key: described[key] for key in keys} | {"problem": None}


def _described(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "model_hash": card.sha256,
        "data_cutoff": card.data_cutoff.isoformat(),
        "horizon": card.horizon,
        "lookback": card.lookback,
        "parameters": card.parameters,
        "levels": list(card.levels),
        "features": list(card.features),
        "symbols": list(card.symbols),
        "training_span": [day.isoformat() for day in card.training_span],
        "validation_span": [day.isoformat() for day in card.validation_span],
        "calibration_span": [day.isoformat() for day in card.calibration_span],
        "seed": card.seed,
        "metrics": _by_step(card),
    }


def _by_step(card: ModelCard) -> Mapping[str, Mapping[str, float]]:
    return {step: card.metrics[step] for step in sorted(card.metrics, key=int)}


def _groups(cards: Sequence[ModelCard]) -> list[list[ModelCard]]:
    groups: dict[object, list[ModelCard]] = {}
    for card in cards:
        samples = tuple(sorted((step, one["samples"]) for step, one in card.metrics.items()))
        groups.setdefault((card.data_sha256, card.calibration_span, samples), []).append(card)
    return list(groups.values())


def _common_step(cards: Sequence[ModelCard]) -> int:
    return max(set.intersection(*({int(step) for step in card.metrics} for card in cards)))


def _comparison(step: int, rows: Sequence[Row], sentence: str) -> dict[str, Any]:
    return {
        "step": step,
        "verdict": sentence,
        "rows": [
            {
                "name": row.name,
                "is_baseline": row.parameters is None,
                "parameters": row.parameters,
                "figures": dict(row.figures),
            }
            for row in rows
        ],
    }


def _print_comparison(step: int, rows: Sequence[Row], sentence: str) -> None:
    # Twelve columns in 100 characters: one space between them.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(f"{step} sessions ahead", overflow="fold")
    for heading in ("size", *_HEADINGS):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = (row.figures.get(column) for column in COLUMNS)
        weights = "" if row.parameters is None else _thousands(row.parameters)
        table.add_row(row.name, weights, *("" if one is None else f"{one:.4f}" for one in figures))
    console().print(table)
    console().print(f"{sentence}\n")


def _thousands(count: int) -> str:
    return f"{count / 1000:,.0f}k"


def _span(span: tuple[object, object]) -> str:
    return f"{span[0]} to {span[1]}"
