"""Imports point down: the contracts of pyproject.toml, and what is loaded when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import atrous

Load = Callable[[str], set[str]]

# Words of key and layer names in other projects' weight files
FOREIGN_NAMES = ("branch2a", "conv2d_list", "fc1_voc12", "fc1_coco", "Scale.", "aspp.c")


def test_import_contracts_hold(root: Path) -> None:
    lint = "from importlinter.cli import lint_imports_command as main; main()"
    command = [sys.executable, "-c", lint, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_atrous_loads_no_heavy_module(loaded_modules: Load) -> None:
    assert not loaded_modules("import atrous") & {"torch", "numpy", "PIL", "matplotlib", "click"}


@pytest.mark.parametrize("module", ["labels", "image_io", "metrics"])
def test_numpy_modules_load_no_torch(module: str, loaded_modules: Load) -> None:
    assert "torch" not in loaded_modules(f"import atrous.{module}")


def test_importing_the_public_names_loads_no_matplotlib(loaded_modules: Load) -> None:
    code = "import atrous\nfor name in atrous.__all__: getattr(atrous, name)"
    loaded = loaded_modules(code)
    assert "torch" in loaded
    assert not loaded & {"matplotlib", "click", "atrous.cli"}


def test_foreign_weight_names_stay_in_convert() -> None:
    package = Path(atrous.__file__).parent
    found = [
        f"{path.relative_to(package)}: {name}"
        for path in package.rglob("*.py")
        if "weights/convert/" not in path.as_posix()
        for name in FOREIGN_NAMES
        if name in path.read_text(encoding="utf-8")
    ]
    assert not found
