"""RGB masks by a table of colours, and the traps of label files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset
from atrous.data.label_files import read_red_16bit

from .trees import label_map, png_16bit, write_grey, write_palette, write_photo, write_text

ROAD, TREE, VOID = (128, 64, 128), (0, 128, 0), (0, 0, 0)


def write_folder(root: Path, *classes: str) -> Path:
    write_photo(root / "images/a.png")
    write_text(root / "splits/train.txt", "a")
    if classes:
        write_text(root / "classes.txt", *classes)
    (root / "labels").mkdir()
    return root / "labels/a.png"


def write_rgb(path: Path, colours: list[tuple[int, int, int]], mode: str = "RGB") -> None:
    pixels = np.array(colours, np.uint8)[label_map(list(range(len(colours))))]
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_rgb_masks_are_read_by_their_colours(tmp_path: Path, mode: str) -> None:
    path = write_folder(tmp_path, "road 128 64 128", "green tree 0 128 0", "void 0 0 0")
    write_rgb(path, [TREE, VOID, ROAD], mode)
    dataset = load_dataset("folder", tmp_path, split="train")
    assert dataset.label_set.names == ("road", "green tree")
    assert dataset.label_set.palette == (ROAD, TREE)
    assert dataset[0].labels.ravel()[:3].tolist() == [1, 255, 0]


@pytest.mark.parametrize("write", [write_grey, write_palette])
def test_indices_are_read_as_such_where_colours_are_given(tmp_path: Path, write) -> None:
    path = write_folder(tmp_path, "road 128 64 128", "tree 0 128 0")
    write(path, [1, 0, 255])
    assert load_dataset("folder", tmp_path, split="train")[0].labels[0, :3].tolist() == [1, 0, 255]


def test_a_colour_of_no_class_is_named(tmp_path: Path) -> None:
    write_rgb(write_folder(tmp_path, "road 128 64 128", "tree 0 128 0"), [TREE, (1, 2, 3)])
    with pytest.raises(
        ValueError, match=r"a.png holds 1 colour\(s\) without a class, such as \(1, 2, 3\), in 50"
    ):
        load_dataset("folder", tmp_path, split="train")[0]


def test_rgb_masks_without_colours_say_how_to_give_them(tmp_path: Path) -> None:
    write_rgb(write_folder(tmp_path, "road", "tree"), [TREE, ROAD])
    with pytest.raises(
        ValueError,
        match=r"a.png holds RGB pixels, not class indices; give every class its colour in "
        r"classes.txt, a line `name R G B`, or save the labels as palette or grey PNG, one ",
    ):
        load_dataset("folder", tmp_path, split="train")[0]


def test_rgb_masks_without_a_list_of_classes_say_the_same(tmp_path: Path) -> None:
    write_rgb(write_folder(tmp_path), [TREE, ROAD])
    with pytest.raises(
        ValueError, match="the first: .* give every class its colour in classes.txt"
    ):
        load_dataset("folder", tmp_path, split="train")


def test_colours_do_not_help_masks_of_another_kind(tmp_path: Path) -> None:
    path = write_folder(tmp_path, "road 128 64 128", "tree 0 128 0")
    Image.new("LA", (8, 6)).save(path)
    with pytest.raises(ValueError, match="holds LA pixels, not class indices; save the labels as"):
        load_dataset("folder", tmp_path, split="train")[0]


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (["road 128 64 128", "tree"], "gives colours to 1 of 2 classes"),
        (["road 128 64 128", "tree 128 64 128"], "gives the same colour to two classes"),
        (["road 128 64 128", "tree 0 256 0"], "gives colours to 1 of 2 classes"),
    ],
)
def test_wrong_colours_are_refused(tmp_path: Path, classes: list[str], says: str) -> None:
    write_grey(write_folder(tmp_path, *classes), [0, 1])
    with pytest.raises(ValueError, match=f"classes.txt {says}"):
        load_dataset("folder", tmp_path, split="train")


def test_class_names_that_end_in_a_number_are_names(tmp_path: Path) -> None:
    write_grey(write_folder(tmp_path, "road", "lane 2"), [0, 1])
    assert load_dataset("folder", tmp_path, split="train").label_set.names == ("road", "lane 2")


def test_a_slice_keeps_the_way_labels_are_read(tmp_path: Path) -> None:
    write_rgb(write_folder(tmp_path, "road 128 64 128", "tree 0 128 0"), [TREE, ROAD])
    part = load_dataset("folder", tmp_path, split="train")[:1]
    assert part[0].labels[0, :2].tolist() == [1, 0]


def test_red_of_16_bits_is_read_whatever_the_filter(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (11, 7, 3), np.uint16)
    (tmp_path / "a.png").write_bytes(png_16bit(pixels))
    np.testing.assert_array_equal(read_red_16bit(tmp_path / "a.png"), pixels[..., 0])


def test_a_missing_file_of_16_bits_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_red_16bit(tmp_path / "a.png")
