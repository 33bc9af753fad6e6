"""How much disk the product takes: a fresh environment with the locked core packages.

Installs as the Makefile does, into a temporary folder, so it needs the package index.  The
floor is what no trading program on this stack can do without: pandas, NumPy, ONNX Runtime.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from bench.table import Row

LOCK = Path(__file__).parent.parent / "requirements" / "core.txt"
PRECOMPILE = LOCK.with_name("precompile.py")
INSTALL = (
    "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes",
    "--only-binary", ":all:", "--no-deps", "--no-compile", "-r", str(LOCK),
)  # fmt: skip
FLOOR = ("numpy", "numpy.libs", "onnxruntime", "pandas")
LARGEST = 8
MEGABYTE = 1_000_000
BLOCK = 512


def measure() -> list[Row]:
    """Install the core packages afresh; return their size, in total and for the largest."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        _python(folder, *INSTALL)
        _python(folder, str(PRECOMPILE))
        sizes = package_sizes(next(Path(folder, "lib").glob("python3*/site-packages")))
    command = "python -m bench footprint"
    total = sum(sizes.values())
    rows = [
        Row(
            name="installed size, core",
            ours=total,
            unit="MB",
            floor=sum(sizes.get(name, 0.0) for name in FLOOR),
            floor_name="pandas, NumPy, ONNX Runtime",
            target="<= 400 MB",
            command=command,
        )
    ]
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:LARGEST]
    rows += [
        Row(
            name=f"- {name}",
            ours=sizes[name],
            unit="MB",
            floor=total,
            floor_name="all",
            command=command,
        )
        for name in largest
    ]
    return rows


def _python(environment: str, *arguments: str) -> None:
    done = subprocess.run(
        (f"{environment}/bin/python", *arguments),
        capture_output=True, check=False, text=True, timeout=900,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()[-300:]}")


def package_sizes(site_packages: Path) -> dict[str, float]:
    """Return megabytes on disk by the top folder in ``site_packages``; small files as one."""
    sizes: dict[str, float] = {}
    for folder, _, files in os.walk(site_packages):
        parts = Path(folder).relative_to(site_packages).parts
        name = parts[0] if parts else "single files"
        # Blocks, not bytes: many small files take more room than their lengths add up to.
        taken = sum(os.lstat(Path(folder, file)).st_blocks * BLOCK for file in files)
        sizes[name] = sizes.get(name, 0.0) + taken / MEGABYTE
    return sizes


if __name__ == "__main__":
    for package, size in sorted(
        package_sizes(Path(sys.argv[1])).items(), key=lambda item: -item[1]
    ):
        print(f"{size:8.1f} MB  {package}")
