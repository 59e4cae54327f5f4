from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def oracle(load_oracle: Callable[[str], ModuleType]) -> ModuleType:
    """The lattice and the mean field in plain numpy, in float64."""
    return load_oracle("permutohedral")
