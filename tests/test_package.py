"""What the package promises as a whole: public names, version, the files that it carries."""

from __future__ import annotations

import importlib.util
import re
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest

import atrous

PACKAGE = Path(atrous.__file__).parent
NAMES = [name for name in atrous.__all__ if name != "__version__"]


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("name", NAMES)
def test_public_name_resolves_and_explains_itself(name: str) -> None:
    value = getattr(atrous, name)
    assert value.__name__ == name
    assert value.__module__.startswith(("atrous.", "atrous_crf."))
    assert value.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_no_module_bears_a_public_name(name: str) -> None:
    assert importlib.util.find_spec(f"atrous.{name}") is None


def test_dir_lists_public_names() -> None:
    assert set(atrous.__all__) <= set(dir(atrous))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'atrous' has no attribute 'creat_model'"):
        _ = atrous.creat_model


def test_version_is_the_same_everywhere(root: Path) -> None:
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d[\w.]*)", changelog, re.MULTILINE)[0] == atrous.__version__
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == atrous.__version__


def test_constraints_pin_every_direct_dependency(root: Path, project: dict[str, Any]) -> None:
    pins = re.findall(r"^([\w-]+)==", (root / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    crf = tomllib.loads((root / "crf/pyproject.toml").read_text(encoding="utf-8"))["project"]
    items = [
        item
        for part in (project, crf)
        for group in (part["dependencies"], *part["optional-dependencies"].values())
        for item in group
    ]
    needed = {re.match(r"[\w-]+", item)[0] for item in items}
    assert needed - {"atrous", "atrous-crf"} <= set(pins)


def test_everything_extra_is_in_all(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    listed = extras["all"][0].removeprefix("atrous[").removesuffix("]").split(",")
    assert set(listed) == set(extras) - {"all", "docs", "test"}


def test_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_every_bundled_weights_file_is_small_and_has_its_licence() -> None:
    files = list((PACKAGE / "weights" / "bundled").glob("*.safetensors"))
    assert files
    for path in files:
        assert path.stat().st_size <= 12_000_000
        assert path.with_suffix(".LICENSE").read_text(encoding="utf-8").strip()


def test_street_lite_is_named_with_its_terms_wherever_it_is_met(root: Path) -> None:
    entry = next(entry for entry in atrous.list_weights() if entry.name == "street-lite")
    for text in (
        entry.notice,
        (root / "README.md").read_text("utf-8"),
        (root / "NOTICE").read_text("utf-8"),
    ):
        assert "non-commercial research only" in " ".join(text.split())
    assert "CC BY-NC 4.0" in (root / "README.md").read_text("utf-8")


def test_demo_photo_carries_its_credit() -> None:
    credit = (PACKAGE / "demo" / "china.CREDIT").read_text(encoding="utf-8")
    assert "CC BY 2.0" in credit
    assert "danielbuechele" in credit


def test_tests_cannot_reach_another_machine() -> None:
    with pytest.raises(PermissionError, match="only loopback is allowed"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
