"""Lists of classes: our own, CVAT's and labelme's."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrous.data.class_list import find_class_list, read_class_list

from .trees import write_text


def read(root: Path, *lines: str, name: str = "classes.txt"):
    write_text(root / name, *lines)
    return read_class_list(root / name)


@pytest.mark.parametrize(
    "lines",
    [
        ("road 128 64 128", "green tree 0 128 0", "void 0 0 0"),
        ("road:128,64,128", "green tree:0,128,0", "void:0,0,0"),
        ("# label:color_rgb", "road:128,64,128::", "green tree: 0, 128, 0:a,b:c", "Void 0 0 0"),
    ],
)
def test_colours_are_written_in_two_ways(tmp_path: Path, lines: tuple[str, ...]) -> None:
    classes = read(tmp_path, *lines)
    assert classes.label_set.names == ("road", "green tree")
    assert classes.label_set.palette == ((128, 64, 128), (0, 128, 0))
    assert classes.colours == {(128, 64, 128): 0, (0, 128, 0): 1, (0, 0, 0): 255}
    assert classes.numbers == {0: 0, 1: 1, 2: 255}
    assert classes.masks == "auto"


def test_void_without_colours_makes_its_number_unknown(tmp_path: Path) -> None:
    classes = read(tmp_path, "void", "road", "tree", "VOID", "sky")
    assert classes.label_set.names == ("road", "tree", "sky")
    assert classes.numbers == {0: 255, 1: 0, 2: 1, 3: 255, 4: 2}
    assert classes.moves_numbers


def test_void_at_the_end_leaves_the_numbers(tmp_path: Path) -> None:
    assert not read(tmp_path, "road", "tree", "void").moves_numbers


def test_the_list_of_cvat_is_read_by_colour(tmp_path: Path) -> None:
    lines = ("# label:color_rgb:parts:actions", "background:0,0,0::", "cat:250,50,83::")
    classes = read(tmp_path, *lines, name="labelmap.txt")
    assert classes.label_set.names == ("background", "cat")
    assert classes.colours == {(0, 0, 0): 0, (250, 50, 83): 1}
    assert classes.masks == "colours"


def test_the_list_of_labelme_counts_from_minus_one(tmp_path: Path) -> None:
    classes = read(tmp_path, "__ignore__", "_background_", "cat", name="labels.txt")
    assert classes.label_set.names == ("background", "cat")
    assert classes.numbers == {0: 0, 1: 1}


def test_labelmes_own_copy_of_the_list_counts_from_the_background(tmp_path: Path) -> None:
    classes = read(tmp_path, "_background_", "cat", name="class_names.txt")
    assert classes.label_set.names == ("background", "cat")
    assert classes.numbers == {0: 0, 1: 1}


@pytest.mark.parametrize(("word", "masks"), [("indices", "indices"), ("colors", "colours")])
def test_a_line_tells_how_masks_are_stored(tmp_path: Path, word: str, masks: str) -> None:
    classes = read(tmp_path, "road 128 64 128", "tree 0 128 0", f"masks: {word}")
    assert classes.masks == masks
    assert classes.label_set.num_classes == 2


def test_a_class_may_be_called_masks(tmp_path: Path) -> None:
    assert read(tmp_path, "masks:1,2,3", "faces:4,5,6").label_set.names == ("masks", "faces")
    assert read(tmp_path, "masks", "faces").label_set.names == ("masks", "faces")


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("classes.txt", ("road 128,64,128", "tree 0,128,0"), r"line 'road 128,64,128'; write colo"),
        ("classes.txt", ("road #804080", "tree #008000"), r"line 'road #804080'; write colours as"),
        ("classes.txt", ("road 300 0 0",), r"the line 'road 300 0 0'; write colours as"),
        ("classes.txt", ("road", "masks: rgb"), r"the line 'masks: rgb'; write `masks: indices`"),
        ("classes.txt", ("road", "masks: colours"), r"says `masks: colours`; give `name R G B`"),
        (
            "classes.txt",
            ("64 128 64\tcat", "0 0 9\tdog"),
            r"the line '64 128 64\\tcat'; write colo",
        ),
        ("classes.txt", ("cat 9 9 9 255", "dog 0 0 9 255"), r"four numbers, with opacity last"),
        ("classes.txt", ("1 cat", "2 dog", "3 cow"), r"numbers its lines 1, 2, 3 …, but the first"),
        (
            "classes.txt",
            ("1: cat 9 9 9", "3: dog 9 9 8"),
            r"numbers its lines 1, 3 …, but the first",
        ),
        ("classes.txt", ("void",), r"classes.txt names no class"),
        ("classes.txt", ("# nothing", "#"), r"classes.txt is empty"),
        ("classes.txt", ("road", "__ignore__"), r"line __ignore__ below others; .* write void"),
        ("labels.txt", ("cat", "dog"), r"starts with 'cat'; .* rename it to classes.txt"),
        ("labelmap.txt", ("cat", "dog"), r"has no line `name:R,G,B`, as CVAT writes"),
    ],
)
def test_lists_that_can_be_misread_are_refused(tmp_path: Path, name, lines, says) -> None:
    with pytest.raises(ValueError, match=says):
        read(tmp_path, *lines, name=name)


def test_numbers_may_belong_to_names(tmp_path: Path) -> None:
    classes = read(tmp_path, "lane 2 9 9 9", "4 wheels 0 0 255")
    assert classes.label_set.names == ("lane 2", "4 wheels")
    assert read(tmp_path, "0 cat", "1 dog").label_set.names == ("0 cat", "1 dog")


def test_our_own_list_comes_before_others(tmp_path: Path) -> None:
    assert find_class_list(tmp_path) is None
    write_text(tmp_path / "labels.txt", "__ignore__", "_background_")
    assert find_class_list(tmp_path) == tmp_path / "labels.txt"
    write_text(tmp_path / "labelmap.txt", "cat:1,2,3::")
    with pytest.raises(ValueError, match=r"holds labelmap.txt and labels.txt; keep one list"):
        find_class_list(tmp_path)
    write_text(tmp_path / "classes.txt", "cat")
    assert find_class_list(tmp_path) == tmp_path / "classes.txt"
