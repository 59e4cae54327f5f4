"""The package as a whole: what is loaded when, the errors, the files that it carries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import atrous_crf

Load = Callable[[str], set[str]]


@pytest.mark.parametrize(
    "code",
    [
        "import atrous_crf",
        "from atrous_crf.errors import AtrousError",
        "from atrous_crf.params import CRFParams; CRFParams()",
        "from atrous_crf import AtrousError, CRFParams, InputError, MissingPackageError",
    ],
)
def test_parameters_and_errors_load_neither_numpy_nor_the_kernel(
    code: str, loaded_modules: Load
) -> None:
    assert not loaded_modules(code) & {"numpy", "torch", "atrous_crf.kernel", "atrous_crf._native"}


def test_arrays_and_the_drop_in_load_no_torch(loaded_modules: Load) -> None:
    code = "import numpy as np\nfrom atrous_crf import DenseCRF, pydensecrf\n"
    code += "DenseCRF().refine(np.ones((2, 3, 3)), np.zeros((3, 3, 3), np.uint8))"
    loaded = loaded_modules(code)
    assert "atrous_crf._native" in loaded
    assert "torch" not in loaded


def test_layer_without_torch_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import atrous_crf\n"
        "try: atrous_crf.CRFLayer\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "MissingPackageError CRFLayer needs torch, which is not installed"
    )


def test_missing_kernel_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['atrous_crf._native'] = None\nimport atrous_crf\n"
    code += "atrous_crf.CRFParams()\natrous_crf.DenseCRF"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingPackageError: the compiled kernel of atrous_crf cannot be loaded" in done.stderr
    assert "build it with `pip install ./crf`" in done.stderr


def test_errors_are_also_the_built_in_ones() -> None:
    assert issubclass(atrous_crf.InputError, ValueError)
    assert issubclass(atrous_crf.InputError, atrous_crf.AtrousError)
    assert issubclass(atrous_crf.MissingPackageError, ImportError)
    assert issubclass(atrous_crf.MissingPackageError, atrous_crf.AtrousError)


def test_public_names() -> None:
    assert set(atrous_crf.__all__) <= set(dir(atrous_crf))
    with pytest.raises(AttributeError, match="module 'atrous_crf' has no attribute 'Dense'"):
        _ = atrous_crf.Dense


def test_package_is_typed_and_carries_the_stub() -> None:
    package = Path(atrous_crf.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_native.pyi").is_file()


def test_version_is_that_of_the_metadata() -> None:
    try:
        installed = version("atrous-crf")
    except PackageNotFoundError:
        pytest.skip("atrous-crf is on the path, but not installed")
    assert installed == atrous_crf.__version__
