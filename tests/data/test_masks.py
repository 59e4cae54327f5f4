"""Masks of every kind are read rightly, or refused with the line to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset, open_masks
from atrous.image_io import write_labels
from atrous.labels import LabelSet

from .trees import label_map, write_photo, write_text

ROAD, TREE, BLACK, WHITE = (128, 64, 128), (0, 128, 0), (0, 0, 0), (255, 255, 255)
COLOURED = ("road 128 64 128", "tree 0 128 0", "void 0 0 0")


def make(root: Path, masks: list[Image.Image], *classes: str) -> None:
    for index, mask in enumerate(masks):
        write_photo(root / f"images/p{index}.png", seed=index)
        (root / "labels").mkdir(exist_ok=True)
        mask.save(root / f"labels/p{index}.png")
    write_text(root / "splits/train.txt", *(f"p{index}" for index in range(len(masks))))
    if classes:
        write_text(root / "classes.txt", *classes)


def grey(*values: int) -> Image.Image:
    return Image.fromarray(label_map(list(values)))


def palette(values: list[int], colours: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(label_map(values), "P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def rgb(*colours: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.array(colours, np.uint8)[label_map(list(range(len(colours))))])


def read(root: Path, index: int = 0) -> list[int]:
    """Return the first labels of a mask; masks here repeat their values along a row."""
    return load_dataset("folder", root, split="train")[index].labels.ravel()[:3].tolist()


# --- 0/255 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB"])
def test_black_and_white_masks_are_read_by_grey_colours(tmp_path: Path, mode: str) -> None:
    masks = [grey(0, 255, 255).convert(mode), grey(0).convert(mode)]
    make(tmp_path, masks, "background 0 0 0", "foreground 255 255 255")
    assert read(tmp_path) == [0, 1, 1]
    assert read(tmp_path, 1) == [0, 0, 0]


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB"])
def test_white_may_be_the_first_class(tmp_path: Path, mode: str) -> None:
    masks = [grey(0, 255, 255).convert(mode), grey(0).convert(mode)]
    make(tmp_path, masks, "crack 255 255 255", "wall 0 0 0")
    assert read(tmp_path) == [1, 0, 0]
    assert read(tmp_path, 1) == [1, 1, 1]


def test_a_third_grey_may_be_unknown(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 128, 255)], "wall 0 0 0", "void 128 128 128", "crack 255 255 255")
    assert read(tmp_path) == [0, 255, 1]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_black_and_white_masks_are_read_by_two_names(tmp_path: Path, mode: str) -> None:
    make(tmp_path, [grey(0).convert(mode), grey(255, 0, 0).convert(mode)], "wall", "crack")
    assert read(tmp_path) == [0, 0, 0]
    assert read(tmp_path, 1) == [1, 0, 0]


def test_numbers_0_and_1_with_255_for_unknown_are_read_as_such(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 255, 255), grey(0, 1, 255)], "wall", "crack")
    assert read(tmp_path) == [0, 255, 255]
    assert read(tmp_path, 1) == [0, 1, 255]


@pytest.mark.parametrize("classes", [(), ("wall", "crack")])
def test_black_and_white_masks_in_one_split_alone_are_refused(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    make(tmp_path, [grey(0, 255, 255), grey(0, 1, 255)], *classes)
    write_text(tmp_path / "splits/train.txt", "p0")
    with pytest.raises(
        ValueError, match=r"but those of other splits .* add the line `masks: indic"
    ):
        read(tmp_path)
    write_text(tmp_path / "classes.txt", "wall", "crack", "masks: indices")
    assert read(tmp_path) == [0, 255, 255]


def test_255_in_the_colour_of_borders_is_unknown(tmp_path: Path) -> None:
    colours = [BLACK] * 255 + [(224, 224, 192)]
    make(tmp_path, [palette([0, 255, 0], colours)], "wall", "crack")
    assert read(tmp_path) == [0, 255, 0]


@pytest.mark.parametrize(
    "classes", [(), ("wall",), ("a", "b", "c"), ("void", "crack"), ("a 0 0 0", "b 255 0 0")]
)
@pytest.mark.parametrize("mode", ["L", "P"])
def test_black_and_white_masks_without_a_meaning_are_refused(
    tmp_path: Path, classes: tuple[str, ...], mode: str
) -> None:
    make(tmp_path, [grey(0).convert(mode), grey(0, 255).convert(mode)], *classes)
    with pytest.raises(
        ValueError,
        match=r"labels holds only 0 and 255, .* write the lines `background 0 0 0` and `foreground "
        r"255 255 255` in .*classes.txt",
    ):
        read(tmp_path)


def test_a_line_says_that_255_is_unknown(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 255)], "a", "b", "c", "masks: indices")
    assert read(tmp_path) == [0, 255, 0]


def test_a_background_that_is_the_second_of_two_names_is_refused(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 255)], "crack", "background")
    with pytest.raises(ValueError, match=r"such as `crack 255 255 255` and `background 0 0 0`"):
        read(tmp_path)


def test_numbers_under_grey_colours_are_refused(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 1)], "background 0 0 0", "foreground 255 255 255")
    with pytest.raises(
        ValueError, match=r"such as \(1, 1, 1\), .* if the masks hold numbers, add the line `masks:"
    ):
        read(tmp_path)
    write_text(
        tmp_path / "classes.txt", "background 0 0 0", "foreground 255 255 255", "masks: indices"
    )
    assert read(tmp_path) == [0, 1, 0]


# --- palettes -----------------------------------------------------------------------------------


def test_class_colours_at_other_numbers_are_read_by_colour(tmp_path: Path) -> None:
    """As programs write that make PNG files smaller: the most frequent colour first."""
    make(tmp_path, [palette([0, 1, 2], [BLACK, TREE, ROAD])], *COLOURED)
    assert read(tmp_path) == [255, 1, 0]


def test_class_colours_at_their_own_numbers_are_read_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, [palette([0, 1, 2], [ROAD, TREE, BLACK])], *COLOURED)
    assert read(tmp_path) == [0, 1, 255]


def test_masks_that_the_package_writes_are_read(tmp_path: Path) -> None:
    make(tmp_path, [grey(0)], *COLOURED)
    labels = label_map([0, 1, 255])
    write_labels(tmp_path / "labels/p0.png", labels, LabelSet(("road", "tree"), (ROAD, TREE)))
    assert read(tmp_path) == [0, 1, 255]
    write_text(tmp_path / "classes.txt", "void 0 0 0", *COLOURED[:2])  # void first
    assert read(tmp_path) == [0, 1, 255]


def test_other_colours_are_read_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, [palette([0, 1, 2], [(1, 1, 9), (2, 2, 9), (3, 3, 9)])], *COLOURED)
    assert read(tmp_path) == [0, 1, 255]


def test_a_palette_with_some_class_colours_elsewhere_is_refused(tmp_path: Path) -> None:
    make(tmp_path, [palette([0, 1, 1], [(9, 9, 1), ROAD])], *COLOURED)
    with pytest.raises(
        ValueError,
        match=r"two ways: its palette shows number 1 in the colour \(128, 64, 128\) of another "
        r"line of classes.txt, and number 0 in \(9, 9, 1\), .* add the line `masks: indices`",
    ):
        read(tmp_path)
    write_text(tmp_path / "classes.txt", *COLOURED, "masks: indices")
    assert read(tmp_path) == [0, 1, 1]
    write_text(tmp_path / "classes.txt", *COLOURED, "void 9 9 1")
    assert read(tmp_path) == [255, 0, 0]


def test_a_line_says_that_palettes_are_read_by_colour(tmp_path: Path) -> None:
    make(tmp_path, [palette([0, 1, 2], [(9, 9, 1), TREE, ROAD])], *COLOURED, "masks: colours")
    with pytest.raises(ValueError, match=r"without a class, such as \(9, 9, 1\)"):
        read(tmp_path)


def test_rgb_masks_made_grey_are_read_by_colour(tmp_path: Path) -> None:
    classes = ("sky 128 128 128", "road 128 64 128", "void 0 0 0")
    make(tmp_path, [grey(0, 128, 128)], *classes)
    assert read(tmp_path) == [255, 0, 0]


def test_a_grey_mask_among_rgb_masks_that_can_mean_both_is_refused(tmp_path: Path) -> None:
    make(tmp_path, [grey(0), rgb(ROAD, TREE)], *COLOURED)
    with pytest.raises(
        ValueError, match=r"two ways: as the numbers \[0\] and as grey colours; add"
    ):
        read(tmp_path)
    write_text(tmp_path / "classes.txt", *COLOURED, "masks: colours")
    assert read(tmp_path) == [255, 255, 255]


def test_a_grey_mask_among_grey_masks_holds_numbers(tmp_path: Path) -> None:
    make(tmp_path, [grey(0), grey(0, 1, 2)], *COLOURED)
    assert read(tmp_path) == [0, 0, 0]
    assert read(tmp_path, 1) == [0, 1, 255]


def test_white_that_is_a_class_or_unknown_is_refused(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 255, 0), grey(1)], "sky 0 0 0", "road 9 9 1", "snow 255 255 255")
    with pytest.raises(ValueError, match=r"two ways: as the numbers \[0, 255\] and as grey"):
        read(tmp_path)


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    mask = rgb(ROAD, TREE).convert("RGBA")
    mask.putpixel((0, 0), (0, 0, 0, 0))
    make(tmp_path, [mask], *COLOURED, "snow 255 255 255")
    with pytest.raises(ValueError, match=r"p0.png has transparent pixels"):
        read(tmp_path)


# --- numbers ------------------------------------------------------------------------------------


def test_zero_is_unlabelled_where_void_comes_first(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 1, 2), grey(255, 2, 1)], "void", "road", "tree")
    assert read(tmp_path) == [255, 0, 1]
    assert read(tmp_path, 1) == [255, 1, 0]
    assert load_dataset("folder", tmp_path, split="train").label_set.names == ("road", "tree")


def test_numbers_beyond_a_list_with_void_are_refused(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 1, 3)], "void", "road", "tree")
    with pytest.raises(ValueError, match=r"holds the labels \[3\], but classes.txt gives .* 0-2"):
        read(tmp_path)


def test_numbers_where_a_coloured_void_comes_first_are_refused(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 1, 2)], "void 9 9 9", "road 128 64 128", "tree 0 128 0")
    with pytest.raises(ValueError, match=r"line `void` before a class; add the line `masks: indic"):
        read(tmp_path)
    write_text(
        tmp_path / "classes.txt",
        *("void 9 9 9", "road 128 64 128", "tree 0 128 0", "masks: indices"),
    )
    assert read(tmp_path) == [255, 0, 1]


def test_masks_of_cvat_are_read_by_colour(tmp_path: Path) -> None:
    make(tmp_path, [palette([0, 1, 2], [TREE, BLACK, ROAD])])
    write_text(
        tmp_path / "labelmap.txt",
        *("# label:color_rgb:parts:actions", "background:0,0,0::", "road:128,64,128::"),
        "tree:0,128,0::",
    )
    assert read(tmp_path) == [2, 0, 1]


def test_masks_of_labelme_are_read_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, [palette([0, 1, 255], [BLACK, (128, 0, 0)] * 128)])
    write_text(tmp_path / "labels.txt", "__ignore__", "_background_", "cat")
    assert read(tmp_path) == [0, 1, 255]


# --- masks without images -----------------------------------------------------------------------


def open_first(root: Path, *classes: str) -> list[int]:
    if classes:
        write_text(root / "classes.txt", *classes)
    return open_masks(root / "labels")(root / "labels/p0.png").ravel()[:3].tolist()


def test_masks_without_a_data_set_hold_numbers(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 37, 255)])
    assert open_first(tmp_path) == [0, 37, 255]


def test_black_and_white_masks_without_a_data_set_need_a_list(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 255, 255)])
    with pytest.raises(ValueError, match=r"`foreground 255 255 255` in .*/classes.txt$"):
        open_first(tmp_path)
    assert open_first(tmp_path, "wall", "crack") == [0, 1, 1]
    assert open_first(tmp_path, "wall 0 0 0", "crack 255 255 255") == [0, 1, 1]


def test_white_is_a_number_where_another_number_is_unknown(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 255, 255)])
    read = open_masks(tmp_path / "labels", unknown=0)
    assert read(tmp_path / "labels/p0.png").ravel()[:2].tolist() == [0, 255]


def test_numbers_of_masks_without_a_data_set_stay(tmp_path: Path) -> None:
    make(tmp_path, [grey(0, 1, 2)])
    assert open_first(tmp_path, "void", "road", "tree") == [255, 1, 2]
    rgb(BLACK, ROAD, TREE).save(tmp_path / "labels/p0.png")
    assert open_first(tmp_path, *COLOURED) == [255, 0, 1]
    with pytest.raises(ValueError, match=r"line `void` before a class; add the line `masks: ind"):
        open_first(tmp_path, "void 0 0 0", *COLOURED[:2])
    assert open_first(tmp_path, "void 0 0 0", *COLOURED[:2], "masks: colours") == [255, 1, 2]
