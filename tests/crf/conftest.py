from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """The lattice and the mean field in plain numpy, in float64."""
    path = Path(__file__).parents[1] / "oracles/permutohedral.py"
    spec = importlib.util.spec_from_file_location("permutohedral", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
