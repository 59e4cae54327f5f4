"""The catalogue: what is in the package, and what is published by others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from atrous.models import DeepLab
from atrous.weights import Entry, catalog, list_weights, save_weights

MakeModel = Callable[..., DeepLab]
MakeEntry = Callable[..., Entry]


@pytest.fixture
def bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model: MakeModel, make_entry: MakeEntry
) -> Path:
    save_weights(tmp_path / "tiny.safetensors", make_model().state_dict(), make_entry())
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path)
    return tmp_path


def test_entries_are_read_from_the_files_in_the_package(
    bundled: Path, make_entry: MakeEntry
) -> None:
    (entry,) = list_weights()
    size_bytes = (bundled / "tiny.safetensors").stat().st_size
    assert entry == make_entry(size_bytes=size_bytes)


def test_damaged_file_in_the_package_is_named(bundled: Path) -> None:
    (bundled / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"broken.safetensors is not a readable"):
        list_weights()


def test_unknown_name_lists_near_ones(bundled: Path) -> None:
    with pytest.raises(ValueError, match=r"no weights are called 'tinny'; did you mean tiny\?"):
        catalog.find("tinny")


def test_far_name_lists_all(bundled: Path) -> None:
    with pytest.raises(ValueError, match="choose from tiny"):
        catalog.find("zzzzzzz")


def test_no_weights_at_all_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path)
    assert list_weights() == []
    with pytest.raises(ValueError, match="no weights are called 'street-lite'"):
        catalog.find("street-lite")


def test_real_files_in_the_package_bear_their_names() -> None:
    for entry in list_weights():
        assert entry.name in catalog.bundled_files()
        assert entry.licence
        assert entry.metrics


def test_catalogued_files_carry_address_and_digest() -> None:
    for entry in catalog.CATALOGUED:
        assert entry.url is not None
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256 or "")


def test_published_files_say_where_and_how() -> None:
    for published in catalog.PUBLISHED_ELSEWHERE:
        assert published.files
        assert published.where
        assert published.command.startswith(("atrous convert ", "pip install "))
    assert any("trained on train and val" in p.warning for p in catalog.PUBLISHED_ELSEWHERE)
