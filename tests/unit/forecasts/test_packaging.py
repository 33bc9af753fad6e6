import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from domain.errors import ConfigError
from forecasts.local_process import ModelProcess
from forecasts.model_store import ModelStore
from forecasts.packaging import PackageFormat, package

MODEL = ModelStore().load("lstm")


def test_plain_onnx_is_the_file_and_its_card(tmp_path: Path) -> None:
    out = package(MODEL, PackageFormat.ONNX, tmp_path / "out")

    assert sorted(path.name for path in out.iterdir()) == ["card.json", "model.onnx"]
    assert (out / "model.onnx").read_bytes() == MODEL.onnx


def test_a_triton_repository_has_its_layout_and_shapes(tmp_path: Path) -> None:
    out = package(MODEL, PackageFormat.TRITON, tmp_path / "out")

    config = (out / "lstm-network" / "config.pbtxt").read_text()
    front = (out / "lstm" / "config.pbtxt").read_text()
    assert (out / "lstm-network" / "1" / "model.onnx").read_bytes() == MODEL.onnx
    assert (out / "lstm" / "1" / "model.py").is_file()
    assert config.count("{") == config.count("}")
    assert re.search(r"context.*dims: \[ 60, 20 \]", config)
    assert re.search(r"quantiles.*dims: \[ 40, 11 \]", config)
    assert MODEL.card.sha256 in front


def test_a_modelscope_package_runs_on_its_own(tmp_path: Path) -> None:
    out = package(MODEL, PackageFormat.MODELSCOPE, tmp_path / "out")
    given = np.random.default_rng(1).normal(size=(3, 60, 20)).astype(np.float32)
    np.save(tmp_path / "in.npy", given)

    subprocess.run(
        [sys.executable, out / "inference.py", tmp_path / "in.npy", tmp_path / "out.npy"],
        check=True,
    )

    process = ModelProcess(MODEL.onnx)
    expected = process.run(given, 30)
    process.close()
    assert expected.shape == (3, 40, 11)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-7)
    configuration = json.loads((out / "configuration.json").read_text())
    assert {"framework", "task", "pipeline"} <= configuration.keys()
    readme = (out / "README.md").read_text()
    assert readme.startswith("---\nlicense: apache-2.0\n")
    assert len(readme) > 200
    assert "survivors" in readme


def test_a_changed_model_in_a_package_is_not_run(tmp_path: Path) -> None:
    out = package(MODEL, PackageFormat.MODELSCOPE, tmp_path / "out")
    (out / "model.onnx").write_bytes(b"other")

    done = subprocess.run(
        [sys.executable, out / "inference.py", "in.npy", "out.npy"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode != 0


@pytest.mark.parametrize("form", list(PackageFormat))
def test_nothing_is_overwritten(tmp_path: Path, form: PackageFormat) -> None:
    with pytest.raises(ConfigError, match="exists; name a folder that does not"):
        package(MODEL, form, tmp_path)
