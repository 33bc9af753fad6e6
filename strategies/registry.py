"""Strategies by name: the ``[strategies.NAME]`` sections become allocations of capital."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.errors import ConfigError
from strategies import forecast_edge, momentum, reversal
from strategies.base import Strategy
from strategies.combine import Allocation

DEFAULT_SECTIONS: Mapping[str, Mapping[str, Any]] = {
    forecast_edge.NAME: {"enabled": True, "capital_fraction": 1.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyKind:
    """How one strategy is made: settings with their bounds, and the factory."""

    settings: type[Any]
    bounds: Mapping[str, tuple[float, float]]
    make: Callable[[Any], Strategy]


KINDS: Mapping[str, StrategyKind] = {
    forecast_edge.NAME: StrategyKind(
        settings=forecast_edge.ForecastEdgeSettings,
        bounds=forecast_edge.BOUNDS,
        make=lambda settings: forecast_edge.ForecastEdge(settings=settings),
    ),
    momentum.NAME: StrategyKind(
        settings=momentum.MomentumSettings,
        bounds=momentum.BOUNDS,
        make=lambda settings: momentum.Momentum(settings=settings),
    ),
    reversal.NAME: StrategyKind(
        settings=reversal.ReversalSettings,
        bounds=reversal.BOUNDS,
        make=lambda settings: reversal.Reversal(settings=settings),
    ),
}


def build_allocations(
    sections: Mapping[str, Mapping[str, Any]], *, min_confidence: float
) -> tuple[Allocation, ...]:
    """Build the enabled strategies, sorted by name; no section at all means the default.

    Args:
        sections: ``[strategies.NAME]`` tables as read from the configuration.
        min_confidence: used by strategies that do not set their own.

    Raises:
        ConfigError: unknown strategy or key, wrong type, out of range, capital above 1.
    """
    chosen = sections or DEFAULT_SECTIONS
    for name in chosen:
        _require_known(name, sorted(KINDS), "strategies")
    allocations = [
        allocation
        for name in sorted(chosen)
        if (allocation := _allocation(name, chosen[name], min_confidence)) is not None
    ]
    total = math.fsum(allocation.capital_fraction for allocation in allocations)
    if total > 1 + 1e-12:
        raise ConfigError(f"strategies: capital_fraction of all adds up to {total:g}, above 1")
    return tuple(allocations)


def capital_of(allocations: Sequence[Allocation]) -> dict[str, float]:
    """Return strategy name to capital fraction, as ``combine`` wants it."""
    return {allocation.strategy.name: allocation.capital_fraction for allocation in allocations}


def _allocation(name: str, section: Mapping[str, Any], min_confidence: float) -> Allocation | None:
    where = f"strategies.{name}"
    if not isinstance(section, Mapping):
        raise ConfigError(f"{where}: must be a section, not {section!r}")
    kind = KINDS[name]
    values = {"min_confidence": min_confidence, **section}
    is_enabled = values.pop("enabled", True)
    if not isinstance(is_enabled, bool):
        raise ConfigError(f"{where}.enabled = {is_enabled!r}: must be true or false")
    capital = _number(where, "capital_fraction", values.pop("capital_fraction", 1.0), float, (0, 1))
    fields = {field.name: type(field.default) for field in dataclasses.fields(kind.settings)}
    for key in values:
        _require_known(key, [*fields, "enabled", "capital_fraction"], where)
    settings = kind.settings(
        **{
            key: _number(where, key, raw, fields[key], kind.bounds[key])
            for key, raw in values.items()
        }
    )
    if not is_enabled or capital == 0:
        return None
    return Allocation(strategy=kind.make(settings), capital_fraction=capital)


def _number(where: str, key: str, raw: Any, kind: type[Any], bounds: tuple[float, float]) -> Any:
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if not is_number or (kind is int and not isinstance(raw, int)):
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{where}.{key} = {raw!r}: must be {wanted}")
    low, high = bounds
    if not low <= raw <= high:
        raise ConfigError(f"{where}.{key} = {raw}: out of range, allowed is from {low} to {high}")
    return kind(raw)


def _require_known(key: str, known: Sequence[str], where: str) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
    raise ConfigError(f"{where}.{key}: unknown; {hint}")
