"""Files are written whole or not at all, and nothing is left beside them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from atrous.atomic_file import (
    open_atomically,
    remove_partial_files,
    replacing,
    write_bytes,
    write_text,
)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("is_durable", [True, False])
def test_content_replaces_the_old_file(tmp_path: Path, is_durable: bool) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old and longer")
    write_bytes(path, b"new", is_durable=is_durable)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_text_is_utf_8_with_plain_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Straße\n")
    assert (tmp_path / "a.txt").read_bytes() == "Straße\n".encode()


def test_an_error_in_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write_half() -> None:
        with open_atomically(path) as file:
            file.write(b"half of the ne")
            raise KeyError("interrupted")

    with pytest.raises(KeyError):
        write_half()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r"could not be written \(No space left") as caught:
        write_bytes(path, b"new")
    assert caught.value.filename == str(path)
    assert caught.value.errno == 28
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="input.txt"),
        open_atomically(tmp_path / "a.bin") as file,
    ):
        file.write((tmp_path / "input.txt").read_bytes())
    assert names(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder; create it first"):
        write_bytes(tmp_path / "nowhere" / "a.bin", b"")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(OSError, match=r"a\.bin"):
        write_bytes(tmp_path / "a.bin", b"x")
    assert names(tmp_path) == ["a.bin"]


def test_the_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]


def test_partial_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "kept.bin", b"")
    block = replacing(tmp_path / "a.bin")
    with block as temporary:
        temporary.write_bytes(b"half")
        assert len(names(tmp_path)) == 2
        remove_partial_files(tmp_path)
        assert names(tmp_path) == ["kept.bin"]
        temporary.write_bytes(b"whole")
    assert sorted(names(tmp_path)) == ["a.bin", "kept.bin"]
