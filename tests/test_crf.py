"""`atrous.crf` is atrous_crf under another name: the same objects, and nothing loaded early."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import atrous.crf
import atrous_crf
import atrous_crf.pydensecrf.densecrf


@pytest.mark.parametrize("name", atrous.crf.__all__)
def test_names_are_the_objects_of_atrous_crf(name: str) -> None:
    assert getattr(atrous.crf, name) is getattr(atrous_crf, name)
    assert name in dir(atrous.crf)


def test_modules_are_those_of_atrous_crf() -> None:
    code = """
import atrous.crf.pydensecrf.densecrf, atrous.crf.pydensecrf.utils, atrous.crf.pydensecrf.eigen
import atrous.crf.kernel
import atrous_crf
from atrous.crf.kernel import release_memory
assert atrous.crf.kernel is atrous_crf.kernel
assert release_memory is atrous_crf.kernel.release_memory
for name in ("densecrf", "utils", "eigen"):
    module = getattr(atrous_crf.pydensecrf, name)
    assert getattr(atrous.crf.pydensecrf, name) is module
    assert sys.modules["atrous.crf.pydensecrf." + name] is module
"""
    done = subprocess.run(
        [sys.executable, "-c", "import sys" + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'atrous\.crf' has no attribute 'Dense'"):
        _ = atrous.crf.Dense


def test_parameters_load_neither_numpy_nor_the_kernel(
    loaded_modules: Callable[[str], set[str]],
) -> None:
    loaded = loaded_modules("from atrous.crf import CRFParams\nCRFParams()")
    assert not loaded & {"numpy", "torch", "atrous_crf._native"}


def test_a_pydensecrf_script_runs_under_the_name_of_atrous(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, atrous_crf.pydensecrf.densecrf, pydensecrf.densecrf as dcrf\n"
        "assert dcrf is atrous_crf.pydensecrf.densecrf\n"
        "print(__name__, sys.argv[1:])"
    )
    command = [sys.executable, "-m", "atrous.crf.pydensecrf", str(script), "--option"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "__main__ ['--option']\n", done.stderr
