"""Labels that show fewer than two classes are refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrous.data import check_trainable, load_dataset
from atrous.training.data import open_data
from atrous.training.recipe import DataConfig, Recipe

from .layouts import write_voc2012
from .trees import write_grey, write_palette, write_photo, write_text


def write(root: Path, *masks: list[int]) -> Path:
    for index, values in enumerate(masks):
        write_photo(root / f"images/p{index}.png", seed=index)
        write_grey(root / f"labels/p{index}.png", values)
    write_text(root / "splits/train.txt", *(f"p{index}" for index in range(len(masks) - 1)))
    write_text(root / "splits/val.txt", f"p{len(masks) - 1}")
    write_text(root / "classes.txt", "wall", "crack", "void")
    return root


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        (([1], [1, 255], [0, 1]), "of all 2 images of folder/train show a single class, crack;"),
        (
            ([255], [2], [0, 1]),
            "of folder/train show no class, only unknown pixels; training needs",
        ),
    ],
)
def test_labels_of_fewer_than_two_classes_are_refused(tmp_path: Path, masks, says) -> None:
    dataset = load_dataset("folder", write(tmp_path, *masks), split="train")
    with pytest.raises(ValueError, match=says):
        check_trainable(dataset)
    with pytest.raises(ValueError, match=says):
        open_data(Recipe(name="one class", data=DataConfig(dataset="folder", root=str(tmp_path))))


def test_classes_that_are_in_different_images_are_enough(tmp_path: Path) -> None:
    check_trainable(load_dataset("folder", write(tmp_path, [1], [0, 255], [0]), split="train"))


def test_published_data_sets_are_checked_too(tmp_path: Path) -> None:
    write_voc2012(tmp_path)
    check_trainable(load_dataset("voc2012", tmp_path, split="train"))
    write_palette(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_000032.png", [0, 255])
    with pytest.raises(ValueError, match=r"voc2012/train show a single class, background;"):
        check_trainable(load_dataset("voc2012", tmp_path, split="train"))
