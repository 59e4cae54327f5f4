"""Other builds of the kernel give the same results as the installed one.

The tests need a compiler and some minutes: `pytest -m slow crf/tests/test_builds.py`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atrous_crf import _native

RUN = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import _native
with np.load(sys.argv[2]) as given:
    np.save(sys.argv[3], _native.filter(given["features"], given["values"]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "options",
    [
        ("-DATROUS_THREADS=openmp",),
        ("-DATROUS_THREADS=serial",),
        ("-DATROUS_THREADS=std", "-DCMAKE_CXX_COMPILER=clang++"),
    ],
    ids=["openmp", "serial", "clang"],
)
def test_another_build_gives_the_same(
    project: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    needed = ("cmake", "ninja", *("clang++" for option in options if "clang" in option))
    if missing := [name for name in needed if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    nanobind = pytest.importorskip("nanobind")
    build = tmp_path / "build"
    nanobind_dir = f"-Dnanobind_DIR={nanobind.cmake_dir()}"
    python = f"-DPython_EXECUTABLE={sys.executable}"
    configure = ["cmake", "-S", str(project), "-B", str(build), "-G", "Ninja", nanobind_dir, python]
    subprocess.run([*configure, *options], check=True)
    subprocess.run(["cmake", "--build", str(build)], check=True)
    rng = np.random.default_rng(0)
    features = rng.normal(0, 3, (5000, 5)).astype(np.float32)
    values = rng.random((5000, 20)).astype(np.float32)
    np.savez(tmp_path / "given.npz", features=features, values=values)
    files = [str(build), str(tmp_path / "given.npz"), str(tmp_path / "filtered.npy")]
    subprocess.run([sys.executable, "-c", RUN, *files], check=True)
    difference = np.abs(np.load(files[2]) - _native.filter(features, values)).max()
    # Another compiler may round products and sums separately where this one fuses them.
    assert difference <= (1e-5 if "clang" in str(options) else 0)
