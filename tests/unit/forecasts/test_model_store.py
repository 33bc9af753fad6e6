import dataclasses
import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

from domain.errors import ConfigError, StateError
from forecasts.card import read_card
from forecasts.features import FeatureSet
from forecasts.model_files import publish
from forecasts.model_store import SHIPPED, ModelStore
from tests.support.closed_folder import closed_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED, tmp_path / "models")
    return tmp_path / "models"


def rewrite_card(root: Path, **changes: object) -> None:
    """Change fields of the card and mend the sums, as someone with access would."""
    directory = root / "lstm" / "1"
    document = json.loads((directory / "card.json").read_text()) | changes
    (directory / "card.json").write_text(json.dumps(document))
    digest = hashlib.sha256((directory / "card.json").read_bytes()).hexdigest()
    (directory / "SHA256SUMS").write_text(f"{digest}  card.json\n")


def test_the_shipped_model_is_whole_small_and_made_for_our_features() -> None:
    stored = ModelStore().load("lstm")

    assert stored.card.features == FeatureSet.BARS.names
    assert stored.card.sha256 == hashlib.sha256(stored.onnx).hexdigest()
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 2_000_000


def test_the_shipped_card_says_where_the_model_comes_from_and_how_good_it_was() -> None:
    card = ModelStore().card("lstm")

    assert card.data_cutoff < card.calibration_span[1].replace(month=6, day=1)
    assert card.training_span[1] < card.validation_span[0] < card.calibration_span[0]
    for step in ("1", "20", str(card.horizon)):
        figures = card.metrics[step]
        assert {"accuracy", "accuracy_always_up", "brier", "brier_base_rate"} <= figures.keys()
        assert 0.7 < figures["coverage_of_80_band"] < 0.9


def test_a_card_survives_being_written_and_read() -> None:
    card = ModelStore().card("lstm")

    assert json.loads(card.to_json())["schema"] == 1
    assert read_card(SHIPPED / "lstm" / "1" / "card.json") == card


@pytest.mark.parametrize("at", [0, 1000, -1])
def test_a_changed_byte_in_the_model_is_refused(root: Path, at: int) -> None:
    path = root / "lstm" / "1" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)

    with pytest.raises(StateError, match=r"model\.onnx does not match its card; run `openbell"):
        ModelStore([root]).load("lstm")


def test_a_truncated_model_is_refused(root: Path) -> None:
    path = root / "lstm" / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(StateError, match="does not match its card"):
        ModelStore([root]).load("lstm")


def test_a_changed_card_is_refused(root: Path) -> None:
    path = root / "lstm" / "1" / "card.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))

    with pytest.raises(StateError, match="does not match SHA256SUMS"):
        ModelStore([root]).load("lstm")


def test_a_missing_model_file_is_one_sentence(root: Path) -> None:
    (root / "lstm" / "1" / "model.onnx").unlink()

    with pytest.raises(StateError, match="cannot be read; run `openbell train lstm`"):
        ModelStore([root]).load("lstm")


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".pth", ".bin", ".joblib"])
def test_h11_a_file_that_could_carry_code_is_refused_by_its_type(root: Path, suffix: str) -> None:
    (root / "lstm" / "1" / f"weights{suffix}").write_bytes(pickle.dumps({}))

    with pytest.raises(StateError, match="could carry code"):
        ModelStore([root]).load("lstm")


def test_h11_a_pickle_under_the_name_of_a_model_is_never_opened(root: Path) -> None:
    (root / "lstm" / "1" / "model.onnx").write_bytes(pickle.dumps({}))

    with pytest.raises(StateError, match="does not match its card"):
        ModelStore([root]).load("lstm")


def test_a_link_out_of_the_registry_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text("{}")
    (root / "lstm" / "1" / "extra.json").symlink_to(tmp_path / "outside.json")

    with pytest.raises(StateError, match="remove it"):
        ModelStore([root]).load("lstm")


def test_a_model_for_other_features_is_refused(root: Path) -> None:
    rewrite_card(root, features=["momentum_1"])

    with pytest.raises(StateError, match="features that this version does not know"):
        ModelStore([root]).load("lstm")


@pytest.mark.parametrize("changes", [{"schema": 99}, {"surprise": 1}, {"levels": "none"}])
def test_a_card_that_is_not_ours_is_refused(root: Path, changes: dict[str, object]) -> None:
    rewrite_card(root, **changes)

    with pytest.raises(StateError, match=r"card\.json cannot be used"):
        ModelStore([root]).load("lstm")


def test_a_card_of_another_model_is_refused(root: Path) -> None:
    rewrite_card(root, name="gru")

    with pytest.raises(StateError, match="is the card of gru/1"):
        ModelStore([root]).load("lstm")


@pytest.mark.parametrize("name", ["nhits", "../lstm", "LSTM", ""])
def test_an_unknown_name_is_a_sentence_with_the_names_there_are(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"openbell (models|train)"):
        ModelStore([root]).load(name)


@pytest.mark.parametrize("version", ["2", "../1", "0", "one"])
def test_an_unknown_version_is_refused(root: Path, version: str) -> None:
    with pytest.raises(ConfigError, match="openbell models"):
        ModelStore([root]).load("lstm", version)


@pytest.mark.parametrize("text", ["", "latest", "../../etc"])
def test_a_damaged_pointer_is_refused(root: Path, text: str) -> None:
    (root / "lstm" / "current").write_text(text)

    with pytest.raises(StateError, match="openbell models promote lstm"):
        ModelStore([root]).load("lstm")


def test_a_published_version_is_used_once_promoted(root: Path) -> None:
    stored = ModelStore([root]).load("lstm")
    publish(root, dataclasses.replace(stored.card, version="2"), stored.onnx)
    assert ModelStore([root]).load("lstm").card.version == "1"

    ModelStore([root]).promote("lstm", "2")

    assert ModelStore([root]).load("lstm").card.version == "2"
    assert ModelStore([root]).versions("lstm") == ("1", "2")
    ModelStore([root]).promote("lstm", "1")
    assert ModelStore([root]).load("lstm").card.version == "1"


def test_a_published_version_never_changes(root: Path) -> None:
    stored = ModelStore([root]).load("lstm")

    with pytest.raises(StateError, match="never changes"):
        publish(root, stored.card, stored.onnx)


def test_a_draft_that_a_crash_left_behind_is_no_version_and_not_part_of_the_next_one(
    root: Path,
) -> None:
    draft = root / "gru" / ".1.new"
    shutil.copytree(root / "lstm" / "1", draft)
    (draft / "left.png").touch()
    stored = ModelStore([root]).load("lstm")

    assert ModelStore([root]).names() == ("lstm",)
    publish(root, dataclasses.replace(stored.card, name="gru"), stored.onnx)

    assert ModelStore([root]).versions("gru") == ("1",)
    assert not (root / "gru" / "1" / "left.png").exists()


def test_a_version_is_on_the_disk_before_a_pointer_can_name_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = ModelStore([root]).load("lstm")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino))

    directory = publish(root, dataclasses.replace(stored.card, version="2"), stored.onnx)

    wanted = [*directory.iterdir(), directory, directory.parent]
    assert sorted(synced) == sorted(path.stat().st_ino for path in wanted)
    assert synced[-1] == directory.parent.stat().st_ino


@pytest.mark.parametrize("noted", ["1\n1\n2\n", "1\nrubbish\n", "1\n"])
def test_a_rollback_finds_the_version_before_whatever_a_crash_left(root: Path, noted: str) -> None:
    stored = ModelStore([root]).load("lstm")
    publish(root, dataclasses.replace(stored.card, version="2"), stored.onnx)
    store = ModelStore([root])
    store.promote("lstm", "2")
    (root / "lstm" / "history").write_text(noted)

    assert store.roll_back("lstm") == "1"
    assert store.current("lstm") == "1"


def test_a_damaged_version_is_not_promoted(root: Path) -> None:
    stored = ModelStore([root]).load("lstm")
    directory = publish(root, dataclasses.replace(stored.card, version="2"), stored.onnx)
    (directory / "model.onnx").write_bytes(b"")

    with pytest.raises(StateError):
        ModelStore([root]).promote("lstm", "2")

    assert ModelStore([root]).current("lstm") == "1"


def test_a_users_version_is_used_only_once_promoted_and_can_be_rolled_back(tmp_path: Path) -> None:
    stored = ModelStore().load("lstm")
    publish(tmp_path, dataclasses.replace(stored.card, version="7"), stored.onnx)
    store = ModelStore([tmp_path, SHIPPED])

    assert store.versions("lstm") == ("1", "7")
    assert store.load("lstm").card.version == "1"
    store.promote("lstm", "7")
    assert store.load("lstm").card.version == "7"
    store.promote("lstm", "1")
    assert store.load("lstm").card.version == "1"
    assert (tmp_path / "lstm" / "current").read_text() == "1\n"


def test_a_shipped_model_is_promoted_in_the_users_own_root(tmp_path: Path) -> None:
    before = (SHIPPED / "lstm" / "current").read_bytes()

    ModelStore([tmp_path / "models", SHIPPED]).promote("lstm", "1")

    assert (tmp_path / "models" / "lstm" / "current").read_text() == "1\n"
    assert (SHIPPED / "lstm" / "current").read_bytes() == before


def test_a_shipped_pointer_never_means_a_users_version_that_was_not_promoted(
    tmp_path: Path,
) -> None:
    stored = ModelStore().load("lstm")
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    publish(shipped, dataclasses.replace(stored.card, version="2", seed=1), stored.onnx)
    (shipped / "lstm" / "current").write_text("2\n")
    publish(own, dataclasses.replace(stored.card, version="2", seed=77), stored.onnx)
    store = ModelStore([own, shipped])

    assert store.load("lstm").card.seed == 1
    store.promote("lstm", "2")
    assert store.load("lstm").card.seed == 77


def test_a_number_that_a_release_and_a_candidate_share_means_the_one_in_use(
    tmp_path: Path,
) -> None:
    stored = ModelStore().load("lstm")
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    publish(shipped, dataclasses.replace(stored.card, version="2", seed=1), stored.onnx)
    (shipped / "lstm" / "current").write_text("2\n")
    publish(own, dataclasses.replace(stored.card, version="2", seed=77), stored.onnx)
    publish(own, dataclasses.replace(stored.card, version="5", seed=5), stored.onnx)
    store = ModelStore([own, shipped])

    # As the list of models, a model server and a rollback ask for it.
    assert store.load("lstm", "2").card.seed == 1
    assert store.candidate("lstm", "2").card.seed == 77
    store.promote("lstm", "5")
    assert store.load("lstm", "2").card.seed == 77
    assert store.before("lstm").card.seed == 1
    assert store.roll_back("lstm") == "2"
    assert store.load("lstm").card.seed == 1
    with pytest.raises(StateError, match="lstm/2 has none before it"):
        store.roll_back("lstm")


def test_a_rollback_to_the_shipped_version_is_found_again_after_a_crash(tmp_path: Path) -> None:
    stored = ModelStore().load("lstm")
    publish(tmp_path, dataclasses.replace(stored.card, version="2"), stored.onnx)
    store = ModelStore([tmp_path, SHIPPED])
    store.promote("lstm", "2")
    (tmp_path / "lstm" / "current").unlink()

    assert store.current("lstm") == "1"
    with pytest.raises(StateError, match="lstm/1 has none before it"):
        store.roll_back("lstm")


def test_a_model_of_which_no_version_is_in_use_is_a_sentence(tmp_path: Path) -> None:
    stored = ModelStore().load("lstm")
    publish(tmp_path, stored.card, stored.onnx)

    with pytest.raises(StateError, match="no version of model lstm is in use; run `openbell"):
        ModelStore([tmp_path]).load("lstm")
    assert ModelStore([tmp_path]).names() == ("lstm",)
    assert ModelStore([tmp_path]).load("lstm", "1").card == stored.card


@pytest.mark.parametrize("place", [".", "lstm", "lstm/1"])
def test_models_that_belong_to_another_user_are_a_sentence(root: Path, place: str) -> None:
    with (
        closed_folder(root / place),
        pytest.raises(
            StateError, match=r"cannot be read \(Permission denied\); give it to openbell's user"
        ),
    ):
        ModelStore([root, SHIPPED]).load("lstm")
