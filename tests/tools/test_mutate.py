"""The list of mutations still fits the code, and its proof is there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def mutate(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", root / "tools/mutate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mutate", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


def test_each_mutation_changes_one_place_of_the_code(mutate: ModuleType, root: Path) -> None:
    for mutation in mutate.MUTATIONS:
        text = (root / mutation.path).read_text("utf-8")
        assert text.count(mutation.text) == 1, f"{mutation.text!r} in {mutation.path}"
        assert (root / mutation.tests).is_file(), mutation.tests
