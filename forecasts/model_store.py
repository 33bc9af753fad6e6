"""The registry of models: versioned directories, verified before anything is loaded.

``<root>/<name>/<version>/{model.onnx, card.json, SHA256SUMS}``, ``<root>/<name>/current``, which
holds the version in use, and ``<root>/<name>/history``, those that were before it.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from domain.errors import ConfigError, StateError
from forecasts.card import ModelCard
from forecasts.model_files import (
    CARD_FILE,
    SUMS_FILE,
    WEIGHTS_FILE,
    StoredModel,
    card_in,
    loaded,
    read_weights,
    readable,
)

SHIPPED = Path(__file__).parent / "registry"
CURRENT_FILE = "current"
HISTORY_FILE = "history"

# In the history: whatever version the release has in use.
_AS_SHIPPED = "shipped"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class ModelStore:
    """Models under some roots, which together hold the versions of a model.

    A user's own root (``{state.directory}/models``) comes before the shipped one: its pointer
    decides, wherever the version is that it names, and promotion writes there.
    """

    def __init__(self, roots: Sequence[Path] = (SHIPPED,)) -> None:
        self._roots = tuple(roots)

    def names(self) -> tuple[str, ...]:
        """Return every model that has a version."""
        cards = [path for root in self._roots for path in root.glob(f"*/*/{CARD_FILE}")]
        # A draft that a crash left behind is no version, a copy that somebody put away no model.
        whole = [path.parent for path in cards if _VERSION.fullmatch(path.parent.name)]
        names = {directory.parent.name for directory in whole}
        return tuple(sorted(name for name in names if _NAME.fullmatch(name)))

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of a model, oldest first."""
        cards = [path for home in self._homes(name) for path in home.glob(f"*/{CARD_FILE}")]
        found = {path.parent.name for path in cards if _VERSION.fullmatch(path.parent.name)}
        return tuple(sorted(found, key=int))

    def is_used(self, name: str) -> bool:
        """Tell whether a version was ever put in use, or is shipped so; it may be damaged.

        Raises:
            ConfigError: no such model.
            StateError: it may not be read.
        """
        return bool(self._in_charge(name))

    def current(self, name: str) -> str:
        """Return the version in use.

        Raises:
            ConfigError: no such model.
            StateError: none of its versions is in use, or the pointer is damaged or not readable.
        """
        return _pointed(name, self._in_charge(name))

    def card(self, name: str, version: str | None = None) -> ModelCard:
        """Read a card without loading its model."""
        return card_in(self._directory(name, version), name)

    def load(self, name: str, version: str | None = None) -> StoredModel:
        """Read and verify a model.

        Raises:
            ConfigError: no such model or version.
            StateError: damaged, of an unsafe type, or made for other features.
        """
        return loaded(self._directory(name, version), name)

    def weights(self, name: str, version: str) -> bytes:
        """Read and verify the weights of a model, for servers that compute with torch.

        Raises:
            ConfigError: no such model or version.
            StateError: damaged, or published without them.
        """
        directory = self._directory(name, version)
        path = directory / WEIGHTS_FILE
        if not path.exists():
            raise StateError(
                f"model {name}/{version} has no {WEIGHTS_FILE}, which a GPU needs; "
                f"run `openbell train {name}`"
            )
        return read_weights(path, directory / SUMS_FILE)

    def candidate(self, name: str, version: str) -> StoredModel:
        """Read and verify what a promotion of that number puts in use: the user's own first.

        Raises:
            ConfigError: no such model or version.
            StateError: damaged, of an unsafe type, or made for other features.
        """
        return loaded(_version_in(self._homes(name), name, version), name)

    def promote(self, name: str, version: str) -> None:
        """Put a version in use; one atomic step, so a reader sees the old or the new one."""
        self.candidate(name, version)
        home = self._roots[0] / name
        home.mkdir(parents=True, exist_ok=True)
        before = self._in_use(name)
        if before is not None and before != version:
            _replace(home / HISTORY_FILE, [*self._history(name), before])
        _replace(home / CURRENT_FILE, [version])

    def before(self, name: str) -> StoredModel:
        """Return the version that was in use before the one that is.

        Raises:
            ConfigError: no such model or version.
            StateError: there was none before it, or it is damaged.
        """
        known = self._history_before(name)
        if not known:
            in_use = self.current(name)
            raise StateError(f"model {name}/{in_use} has none before it; {_promote(name)}")
        if known[-1] == _AS_SHIPPED:
            homes = self._pointing(self._homes(name)[1:])
            return loaded(_version_in(homes, name, _pointed(name, homes)), name)
        return loaded(_version_in(self._homes(name), name, known[-1]), name)

    def roll_back(self, name: str) -> str:
        """Put the version in use that was before the one that is; return it.

        Raises:
            ConfigError: no such model or version.
            StateError: there was none before it, or it is damaged.
        """
        version = self.before(name).card.version
        before = self._history_before(name)
        home = self._roots[0] / name
        if before.pop() == _AS_SHIPPED:
            (home / CURRENT_FILE).unlink()
        else:
            _replace(home / CURRENT_FILE, [version])
        _replace(home / HISTORY_FILE, before)
        return version

    def _history(self, name: str) -> tuple[str, ...]:
        """Return what was in use before what is, oldest first: versions, or as shipped."""
        try:
            lines = (self._roots[0] / name / HISTORY_FILE).read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError):
            return ()
        return tuple(line for line in lines if line == _AS_SHIPPED or _VERSION.fullmatch(line))

    def _history_before(self, name: str) -> list[str]:
        known, in_use = list(self._history(name)), self._in_use(name)
        # A crash inside a promotion may have noted the one that is still in use.
        while known and known[-1] == in_use:
            known.pop()
        return known

    def _in_use(self, name: str) -> str | None:
        try:
            version = self.current(name)
        except StateError:
            return None
        is_own = self._in_charge(name)[0] == self._roots[0] / name
        return version if is_own else _AS_SHIPPED

    def _directory(self, name: str, version: str | None) -> Path:
        """Return where a version is, by default the one in use.

        A number that both the user and a release gave means the one in use, else the user's.
        """
        homes = self._in_charge(name)
        if version is None or (homes and version == _pointed_or_none(name, homes)):
            return _version_in(homes, name, _pointed(name, homes))
        return _version_in(self._homes(name), name, version)

    def _in_charge(self, name: str) -> tuple[Path, ...]:
        """Return the home whose pointer decides, and those that it may point into.

        A shipped pointer never means a user's version: one that was trained and not promoted may
        have the number that a later release ships.
        """
        return self._pointing(self._homes(name))

    @staticmethod
    @readable()
    def _pointing(homes: Sequence[Path]) -> tuple[Path, ...]:
        first = next((n for n, home in enumerate(homes) if (home / CURRENT_FILE).exists()), None)
        return tuple(homes[first:]) if first is not None else ()

    @readable()
    def _homes(self, name: str) -> tuple[Path, ...]:
        if _NAME.fullmatch(name) is None:
            raise ConfigError(f"{name!r} is not the name of a model; see `openbell models`")
        found = tuple(root / name for root in self._roots if (root / name).is_dir())
        if not found:
            raise ConfigError(
                f"no model is called {name!r}; known: {', '.join(self.names()) or 'none'}; "
                "`openbell train --help` names those that can be trained"
            )
        return found


def _pointed(name: str, homes: Sequence[Path]) -> str:
    if not homes:
        raise StateError(f"no version of model {name} is in use; {_promote(name)}")
    path = homes[0] / CURRENT_FILE
    try:
        version = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise StateError(f"{path} cannot be read; {_promote(name)}") from exc
    if _VERSION.fullmatch(version) is None:
        raise StateError(f"{path} holds no version; {_promote(name)}")
    return version


def _pointed_or_none(name: str, homes: Sequence[Path]) -> str | None:
    try:
        return _pointed(name, homes)
    except StateError:
        return None


@readable()
def _version_in(homes: Sequence[Path], name: str, version: str) -> Path:
    if _VERSION.fullmatch(version) is None:
        raise ConfigError(f"model version {version!r} is not a number; see `openbell models`")
    for home in homes:
        if (home / version).is_dir():
            return home / version
    raise ConfigError(f"model {name} has no version {version}; see `openbell models`")


def _replace(path: Path, versions: Sequence[str]) -> None:
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="ascii") as file:
        file.writelines(f"{version}\n" for version in versions)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _promote(name: str) -> str:
    return f"run `openbell models promote {name} VERSION`"
