"""What the tests of the CRF share: opt-in markers, one thread per test process, the oracle."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).resolve().parent
OPT_IN = ("slow", "gpu")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core. The kernel and torch read this, also in the programs that tests start.
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    for item in items:
        for marker in OPT_IN:
            if TESTS in item.path.parents and item.get_closest_marker(marker):
                reason = f"{marker} tests are opt-in: pytest -m {marker}"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """The lattice and the mean field in plain numpy, in float64."""
    path = TESTS / "oracles" / "permutohedral.py"
    spec = importlib.util.spec_from_file_location("permutohedral", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the folder of this distribution: `crf` in the repository."""
    return TESTS.parent


@pytest.fixture(scope="session")
def loaded_modules() -> Callable[[str], set[str]]:
    """Run code in a new interpreter and return the modules that are loaded at its end."""

    def run(code: str) -> set[str]:
        code += "\nimport sys\nprint('\\n'.join(sys.modules))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    return run
