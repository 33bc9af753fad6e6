"""What a kill can go by where the configuration is not in order.

Key by key: what is wrong or unknown is left out and the rest counts, so that a misspelt
timeout keeps nobody from stopping.  A key that tells who the broker is, or where the latch
lies, is never guessed: with a default in its place a kill would prove the wrong thing.
"""

import contextlib
import dataclasses
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config import Config, find_path, load, state_directory
from daemon.config_loader import ENVIRONMENT_PREFIX, build, read_toml, with_environment
from daemon.damaged_toml import legible
from domain.errors import ConfigError
from state.files import DATABASE

# The last is for who is told that the daemon did not come back.
_NEEDED = ("mode", "clock", "broker", "state", "universe", "alerts")
_MODE, _KIND, _URL = "mode", "broker.kind", "broker.alpaca.trading_url"
_DIRECTORY = "state.directory"
_UNIVERSE = {"universe": {"symbols": ["SPY"]}}
# What has to stand beside a key of the top level for it to be judged alone.
_AROUND: Mapping[type, Mapping[str, Any]] = {Config: {**_UNIVERSE, "broker": {"kind": "alpaca"}}}
# Besides ours: a file or a folder that nobody may look at, a number with thousands of digits,
# tables in tables without end, a home directory that does not exist.
_UNUSABLE = (ConfigError, OSError, ValueError, ArithmeticError, RuntimeError)

_NEXT = "put that right, then run `openbell kill` again"
_NOT_ASKED = f"the broker is not known, and nothing was asked of it; {_NEXT}"
_NOT_CERTAIN = f"it is not certain that this is the daemon's account; {_NEXT}"
_MAYBE_OTHERS = f"which may not be the daemon's state directory; {_NEXT}"
_NOT_LATCHED = f"the state directory is not known, so no running daemon was latched; {_NEXT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillConfig:
    """What is known: ``directory`` is None where no place for the latch is.

    ``also`` holds other books of the same account, whose daemon may be the one that runs;
    ``doubts`` keep a kill from being verified, ``notes`` only deserve to be told.
    """

    config: Config
    directory: Path | None
    also: Path | None = None
    is_broker_known: bool = True
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Dropped:
    """A key that was left out; one that nobody knows, with text in it, may stand for another."""

    key: str
    problem: str
    may_be_another: bool = False

    def bears_on(self, key: str) -> bool:
        """Tell whether what was left out was, or could have been, the value of a key."""
        if key == self.key or key.startswith(f"{self.key}."):
            return True
        section = self.key.rpartition(".")[0]
        return self.may_be_another and (not section or key.startswith(f"{section}."))


@dataclass(frozen=True, slots=True)
class _Found:
    """What was left of a configuration, and what was not."""

    kept: dict[str, Any]
    dropped: Sequence[_Dropped]
    file_problem: str | None

    def doubt(self, key: str) -> str | None:
        """Return why the value of a key is not known; a default is, where nothing was lost."""
        if self._is_kept(key):
            return None
        bearing = (one.problem for one in self.dropped if one.bears_on(key))
        # The address and the keys tell an account without the mode.
        return next(bearing, None if key == _MODE else self.file_problem)

    def problems(self) -> list[str]:
        """Return all that is wrong, the file first."""
        whole = [self.file_problem] if self.file_problem is not None else []
        return whole + [one.problem for one in self.dropped]

    def _is_kept(self, key: str) -> bool:
        table: Any = self.kept
        for name in key.split("."):
            if not isinstance(table, Mapping) or name not in table:
                return False
            table = table[name]
        return True


def read_for_kill(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> KillConfig:
    """Read what the kill switch needs; whatever is wrong with the rest stops nobody."""
    try:
        config = load(path, environ)
        found = KillConfig(config=config, directory=state_directory(config))
    except _UNUSABLE:
        found = _judged(_salvaged(path, environ))
    return _located(found, find_path(path).parent)


def _located(found: KillConfig, beside: Path) -> KillConfig:
    """Look for the books beside the configuration too: a kill may be typed in any folder."""
    here = found.directory
    if here is None or here.is_absolute():
        return found
    there = _resolved(beside) / here
    if _has_books(here):
        return _latching_both(found, there) if there != _resolved(here) else found
    if not _has_books(there):
        note = (
            f"{_resolved(here)} holds no books: a daemon of another folder is not latched by this"
        )
        return dataclasses.replace(found, notes=(*found.notes, note))
    state = dataclasses.replace(found.config.state, directory=str(there))
    note = f"no books in {_resolved(here)}: latched in {there}, beside the configuration"
    config = dataclasses.replace(found.config, state=state)
    return dataclasses.replace(found, config=config, directory=there, notes=(*found.notes, note))


def _resolved(path: Path) -> Path:
    """Return where a path leads; as it stands where that cannot be told, as in a removed folder."""
    with contextlib.suppress(OSError, RuntimeError):
        return path.resolve()
    return path


def _latching_both(found: KillConfig, there: Path) -> KillConfig:
    # The embedded broker has an account in each directory: only a real one is the same.
    if found.config.broker.kind != "alpaca" or not _has_books(there):
        return found
    note = f"there are books in {there} too, beside the configuration: latched as well"
    return dataclasses.replace(found, also=there, notes=(*found.notes, note))


def _has_books(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return (directory / DATABASE).exists()
    return False


def _salvaged(path: Path | None, environ: Mapping[str, str]) -> _Found:
    dropped: list[_Dropped] = []
    table, file_problem = _read(find_path(path))
    table = _overlaid(table, environ, dropped)
    unneeded = {field.name for field in dataclasses.fields(Config)}.difference(_NEEDED)
    wanted = {key: raw for key, raw in table.items() if key not in unneeded}
    kept = _usable(Config, wanted, "", dropped)
    kept = {**_UNIVERSE, **kept}
    try:
        build(Config, {**kept, "broker": {"kind": "alpaca"}})
    except ConfigError as exc:
        # A live mode goes by the clock of the system.
        dropped.append(_Dropped("clock", str(exc)))
        del kept["clock"]
    return _Found(kept, dropped, file_problem)


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return what is legible, and what is wrong with the file; it bears on what is not there."""
    try:
        return read_toml(path), None
    except ConfigError as exc:
        problem = str(exc)
    except _UNUSABLE as exc:
        problem = f"the configuration cannot be read ({exc})"
    with contextlib.suppress(*_UNUSABLE):
        return legible(path.read_bytes()), problem
    return {}, problem


def _overlaid(
    table: dict[str, Any], environ: Mapping[str, str], dropped: list[_Dropped]
) -> dict[str, Any]:
    for name in sorted(environ):
        try:
            table = with_environment(table, {name: environ[name]})
        except ConfigError as exc:
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            dropped.append(_Dropped(key, str(exc)))
    return table


def _usable(
    cls: type, table: Mapping[str, Any], where: str, dropped: list[_Dropped]
) -> dict[str, Any]:
    """Return the keys that ``cls`` takes, each judged alone."""
    kept: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for key, raw in table.items():
        name, hint = f"{where}.{key}" if where else key, hints.get(key)
        value = raw
        try:
            if dataclasses.is_dataclass(hint) and isinstance(raw, Mapping):
                section = typing.cast(type, hint)
                value = _usable(section, raw, name, dropped)
                # Keys that are right alone may still not go together, or lack one.
                build(section, value, name)
            else:
                build(cls, {**_AROUND.get(cls, {}), key: raw}, where)
        except _UNUSABLE as exc:
            may_be_another = hint is None and _holds_text(raw)
            dropped.append(_Dropped(name, str(exc), may_be_another))
        else:
            kept[key] = value
    return kept


def _holds_text(raw: Any) -> bool:
    # Every key that must not be guessed is a text.
    if isinstance(raw, Mapping):
        return any(_holds_text(item) for item in raw.values())
    return isinstance(raw, str)


def _judged(found: _Found) -> KillConfig:
    config, clash = _built(found.kept)
    directory, no_place, so = _place(config, found.doubt(_DIRECTORY))
    broker = found.doubt(_KIND) or clash
    if not broker:
        # The embedded broker keeps its account in the state directory.
        broker = found.doubt(_URL) if config.broker.kind == "alpaca" else no_place
    mode = found.doubt(_MODE)
    reasons = ((broker, _NOT_ASKED), (mode, _NOT_CERTAIN), (no_place, so))
    return KillConfig(
        config=config,
        directory=directory,
        is_broker_known=not broker,
        doubts=tuple(f"{why}: {so}" for why, so in reasons if why),
        notes=tuple(
            f"{problem}: ignored"
            for problem in found.problems()
            if problem not in {broker, mode, no_place}
        ),
    )


def _built(kept: Mapping[str, Any]) -> tuple[Config, str | None]:
    """Return the configuration, and why its mode and its broker cannot both be meant."""
    try:
        return build(Config, kept), None
    except ConfigError as exc:
        return build(Config, {key: raw for key, raw in kept.items() if key != "mode"}), str(exc)


def _place(config: Config, doubt: str | None) -> tuple[Path | None, str | None, str]:
    """Return where the latch lies, why that is not certain, and what follows."""
    try:
        directory = state_directory(config)
    except RuntimeError as exc:
        return None, f"state.directory = {config.state.directory!r}: {exc}", _NOT_LATCHED
    if not doubt:
        return directory, None, ""
    # The default; it may be any folder, but books in it are a daemon's.
    if _has_books(directory):
        return directory, doubt, f"latched in {_resolved(directory)}, {_MAYBE_OTHERS}"
    return None, doubt, _NOT_LATCHED
