"""Lists and files that are folders, have another encoding, or name an image twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrous.data import load_dataset
from atrous.data.base import read_lines
from atrous.data.label_files import read_red_16bit
from atrous.data.mat import read_mat

from .layouts import write_gta5, write_synthia, write_voc2012
from .trees import write_grey, write_photo, write_text


@pytest.mark.parametrize(
    ("name", "write", "split", "path"),
    [
        ("voc2012", write_voc2012, "val", "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"),
        ("gta5", write_gta5, "train", "splits/train.txt"),
        ("synthia", write_synthia, "half", "RAND_CITYSCAPES/splits/half.txt"),
    ],
)
def test_a_folder_in_place_of_a_list_is_named(tmp_path: Path, name, write, split, path) -> None:
    write(tmp_path)
    (tmp_path / path).unlink(missing_ok=True)
    (tmp_path / path).mkdir(parents=True)
    with pytest.raises(ValueError, match=f"{path} is a folder; a text file is needed there"):
        load_dataset(name, tmp_path, split=split)


@pytest.mark.parametrize("path", ["splits/train.txt", "classes.txt"])
def test_a_folder_in_place_of_a_file_of_your_own_data_is_named(tmp_path: Path, path: str) -> None:
    write_photo(tmp_path / "images/a.png")
    write_grey(tmp_path / "labels/a.png", [0, 1])
    write_text(tmp_path / "splits/train.txt", "a")
    (tmp_path / path).unlink(missing_ok=True)
    (tmp_path / path).mkdir(parents=True)
    with pytest.raises(ValueError, match=f"{path} is a folder; a text file is needed there"):
        load_dataset("folder", tmp_path, split="train")


def test_a_folder_in_place_of_a_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; a MATLAB file is needed there"):
        read_mat(tmp_path, "S")
    with pytest.raises(ValueError, match="is a folder; a PNG file is needed there"):
        read_red_16bit(tmp_path)


def test_lists_in_another_encoding_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes("straße\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"train.txt is not text in UTF-8; save it as UTF-8"):
        read_lines(path)


def test_sizes_are_width_x_height(tmp_path: Path) -> None:
    write_photo(tmp_path / "images/a.png", size_hw=(4, 5))
    write_grey(tmp_path / "labels/a.png", [0, 1])
    write_text(tmp_path / "splits/train.txt", "a")
    with pytest.raises(ValueError, match=r"a.png is 8x6 \(width x height\) but a.png is 5x4"):
        load_dataset("folder", tmp_path, split="train")[0]
