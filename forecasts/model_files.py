"""The files of one version of a model: written whole, verified before anything is loaded.

Nothing here executes a model file, and nothing that can carry code (pickle and its relatives) is
accepted.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import StateError
from forecasts.card import ModelCard, read_card
from forecasts.features import feature_set_of

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
SUMS_FILE = "SHA256SUMS"
WEIGHTS_FILE = "weights.safetensors"
LARGEST_MODEL_BYTES = 64 * 1024 * 1024

_ALLOWED_SUFFIXES = {".onnx", ".json", ".safetensors", ".png", ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A verified model: its card, and the bytes the card's hash is about."""

    card: ModelCard
    directory: Path
    onnx: bytes


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Tell in one sentence what this user may not read; not each check of a path does."""
    try:
        yield
    except OSError as exc:
        raise StateError(
            f"{exc.filename} cannot be read ({exc.strerror}); give it to openbell's user"
        ) from exc


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
    # After a power cut a pointer must not name files that never reached the disk.
    for path in (*sorted(draft.iterdir()), draft):
        _sync(path)
    draft.rename(final)
    _sync(final.parent)
    return final


def card_in(directory: Path, name: str) -> ModelCard:
    """Read the card of a version of a model, which must be its own."""
    _refuse_unsafe_types(directory)
    card = read_card(directory / CARD_FILE)
    if (card.name, card.version) != (name, directory.name):
        raise StateError(f"{directory / CARD_FILE} is the card of {card.title}; reinstall")
    return card


def loaded(directory: Path, name: str) -> StoredModel:
    """Read and verify a version of a model.

    Raises:
        StateError: damaged, of an unsafe type, or made for other features.
    """
    card = card_in(directory, name)
    onnx = _verified_bytes(directory, card)
    if feature_set_of(card.features) is None:
        raise StateError(
            f"model {card.title} was trained on features that this version does not know; "
            f"run `openbell train {name}`"
        )
    return StoredModel(card=card, directory=directory, onnx=onnx)


@readable()
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


def read_weights(path: Path, sums: Path) -> bytes:
    """Read the weights of a version and verify them by its sums."""
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


@readable()
def _refuse_unsafe_types(directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        if path.suffix not in _ALLOWED_SUFFIXES or path.is_symlink() or not path.is_file():
            raise StateError(
                f"{path} is not of a type a model directory may hold (it could carry code); "
                "remove it"
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
