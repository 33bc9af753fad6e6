"""The registry of models: versioned directories, verified before anything is loaded.

``<root>/<name>/<version>/{model.onnx, card.json, SHA256SUMS}``, ``<root>/<name>/current``, which
holds the version in use, and ``<root>/<name>/history``, those that were before it.  Nothing
here executes a model file, and nothing that can carry code (pickle and its relatives) is
accepted by any path.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ConfigError, StateError
from forecasts.card import ModelCard, read_card
from forecasts.features import feature_set_of

SHIPPED = Path(__file__).parent / "registry"
MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
SUMS_FILE = "SHA256SUMS"
WEIGHTS_FILE = "weights.safetensors"
CURRENT_FILE = "current"
HISTORY_FILE = "history"
LARGEST_MODEL_BYTES = 64 * 1024 * 1024

_ALLOWED_SUFFIXES = {".onnx", ".json", ".safetensors", ".png", ""}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A verified model: its card, and the bytes the card's hash is about."""

    card: ModelCard
    directory: Path
    onnx: bytes


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Tell in one sentence what this user may not read; not each check of a path does."""
    try:
        yield
    except OSError as exc:
        raise StateError(
            f"{exc.filename} cannot be read ({exc.strerror}); give it to openbell's user"
        ) from exc


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
        homes = self._in_charge(name)
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

    def card(self, name: str, version: str | None = None) -> ModelCard:
        """Read a card without loading its model."""
        directory = self._directory(name, version)
        _refuse_unsafe_types(directory)
        card = read_card(directory / CARD_FILE)
        if (card.name, card.version) != (name, directory.name):
            raise StateError(f"{directory / CARD_FILE} is the card of {card.title}; reinstall")
        return card

    def load(self, name: str, version: str | None = None) -> StoredModel:
        """Read and verify a model.

        Raises:
            ConfigError: no such model or version.
            StateError: damaged, of an unsafe type, or made for other features.
        """
        card = self.card(name, version)
        directory = self._directory(name, version)
        onnx = _verified_bytes(directory, card)
        if feature_set_of(card.features) is None:
            raise StateError(
                f"model {card.title} was trained on features that this version does not know; "
                f"run `openbell train {name}`"
            )
        return StoredModel(card=card, directory=directory, onnx=onnx)

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
        return _read_weights(path, directory / SUMS_FILE)

    def promote(self, name: str, version: str) -> None:
        """Put a version in use; one atomic step, so a reader sees the old or the new one."""
        self.load(name, version)
        home = self._roots[0] / name
        home.mkdir(parents=True, exist_ok=True)
        before = self._in_use(name)
        if before is not None and before != version:
            _replace(home / HISTORY_FILE, [*self.history(name), before])
        _replace(home / CURRENT_FILE, [version])

    def history(self, name: str) -> tuple[str, ...]:
        """Return the versions that were in use before the one that is, oldest first."""
        try:
            lines = (self._roots[0] / name / HISTORY_FILE).read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError):
            return ()
        return tuple(line for line in lines if _VERSION.fullmatch(line))

    def before(self, name: str) -> StoredModel:
        """Return the version that was in use before the one that is.

        Raises:
            ConfigError: no such model or version.
            StateError: there was none before it, or it is damaged.
        """
        in_use = self.current(name)
        known = self._until(in_use, self.history(name))
        if not known:
            raise StateError(f"model {name}/{in_use} has none before it; {_promote(name)}")
        return self.load(name, known[-1])

    def roll_back(self, name: str) -> str:
        """Put the version in use that was before the one that is; return it.

        Raises:
            ConfigError: no such model or version.
            StateError: there was none before it, or it is damaged.
        """
        version = self.before(name).card.version
        before = self._until(self.current(name), self.history(name))[:-1]
        home = self._roots[0] / name
        _replace(home / CURRENT_FILE, [version])
        _replace(home / HISTORY_FILE, before)
        return version

    @staticmethod
    def _until(in_use: str, history: Sequence[str]) -> list[str]:
        # A crash inside a promotion may have noted the one that is still in use.
        known = list(history)
        while known and known[-1] == in_use:
            known.pop()
        return known

    def _in_use(self, name: str) -> str | None:
        try:
            return self.current(name)
        except StateError:
            return None

    @_readable()
    def _directory(self, name: str, version: str | None) -> Path:
        chosen = self.current(name) if version is None else version
        if _VERSION.fullmatch(chosen) is None:
            raise ConfigError(f"model version {chosen!r} is not a number; see `openbell models`")
        for home in self._homes(name) if version is not None else self._in_charge(name):
            if (home / chosen).is_dir():
                return home / chosen
        raise ConfigError(f"model {name} has no version {chosen}; see `openbell models`")

    @_readable()
    def _in_charge(self, name: str) -> tuple[Path, ...]:
        """Return the home whose pointer decides, and those that it may point into.

        A shipped pointer never means a user's version: one that was trained and not promoted may
        have the number that a later release ships.
        """
        homes = self._homes(name)
        first = next((n for n, home in enumerate(homes) if (home / CURRENT_FILE).exists()), None)
        return homes[first:] if first is not None else ()

    @_readable()
    def _homes(self, name: str) -> tuple[Path, ...]:
        if _NAME.fullmatch(name) is None:
            raise ConfigError(f"{name!r} is not the name of a model; see `openbell models`")
        found = tuple(root / name for root in self._roots if (root / name).is_dir())
        if not found:
            raise ConfigError(
                f"no model is called {name!r}; known: {', '.join(self.names()) or 'none'}; "
                f"run `openbell train {name}`"
            )
        return found


def publish(
    root: Path,
    card: ModelCard,
    onnx: bytes,
    plots: Mapping[str, bytes] | None = None,
    weights: bytes | None = None,
) -> Path:
    """Write a new version; the directory appears complete or not at all.

    ``plots`` are PNG files by name, for people only; ``weights`` are for servers that
    compute with torch.

    Raises:
        StateError: the version exists already, or the card is not about these bytes.
    """
    if hashlib.sha256(onnx).hexdigest() != card.sha256:
        raise StateError(f"the card of {card.title} is not about this model file")
    final = root / card.name / card.version
    if final.exists():
        raise StateError(f"{final} exists; a published version never changes")
    draft = final.with_name(f".{card.version}.new")
    # What a crash left of an earlier try must not become part of this one.
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    (draft / MODEL_FILE).write_bytes(onnx)
    (draft / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
    for name, content in (plots or {}).items():
        (draft / name).write_bytes(content)
    verified = [CARD_FILE, MODEL_FILE]
    if weights is not None:
        (draft / WEIGHTS_FILE).write_bytes(weights)
        verified.append(WEIGHTS_FILE)
    sums = [f"{_sha256(draft / name)}  {name}\n" for name in verified]
    (draft / SUMS_FILE).write_text("".join(sums), encoding="ascii")
    draft.rename(final)
    return final


@_readable()
def _verified_bytes(directory: Path, card: ModelCard) -> bytes:
    path = directory / MODEL_FILE
    advice = f"run `openbell train {card.name}` or reinstall"
    try:
        if path.stat().st_size > LARGEST_MODEL_BYTES:
            raise StateError(f"model file {path} is larger than any we make; {advice}")
        onnx = path.read_bytes()
        lines = (directory / SUMS_FILE).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise StateError(f"model file {path} cannot be read; {advice}") from exc
    if hashlib.sha256(onnx).hexdigest() != card.sha256:
        raise StateError(f"model file {path} does not match its card; {advice}")
    if f"{_sha256(directory / CARD_FILE)}  {CARD_FILE}" not in lines:
        raise StateError(f"card {directory / CARD_FILE} does not match {SUMS_FILE}; {advice}")
    return onnx


def _read_weights(path: Path, sums: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_MODEL_BYTES:
            raise StateError(f"{path} is larger than any we make; train the model again")
        content = path.read_bytes()
        lines = sums.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise StateError(f"{path} cannot be read; train the model again") from exc
    if f"{hashlib.sha256(content).hexdigest()}  {path.name}" not in lines:
        raise StateError(f"{path} does not match {SUMS_FILE}; train the model again")
    return content


def _replace(path: Path, versions: Sequence[str]) -> None:
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="ascii") as file:
        file.writelines(f"{version}\n" for version in versions)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _promote(name: str) -> str:
    return f"run `openbell models promote {name} VERSION`"


@_readable()
def _refuse_unsafe_types(directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        if path.suffix not in _ALLOWED_SUFFIXES or path.is_symlink() or not path.is_file():
            raise StateError(
                f"{path} is not of a type a model directory may hold (it could carry code); "
                "remove it"
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
