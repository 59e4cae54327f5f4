"""Where images, masks and lists may be, and what errors name."""

from __future__ import annotations

from pathlib import Path

import pytest

from atrous.data import load_dataset

from .trees import write_grey, write_photo, write_text


def load(root: Path, split: str = "train") -> list[tuple[str, str, str]]:
    """Return the names and files of a split."""
    pairs = load_dataset("folder", root, split=split).pairs
    return [
        (p.name, str(p.image.relative_to(root)), str(p.labels.relative_to(root))) for p in pairs
    ]


@pytest.mark.parametrize("end", ["_mask", "_label", "_labels", "_seg", "_gt"])
def test_masks_may_have_an_end_of_their_own(tmp_path: Path, end: str) -> None:
    for name in ("a", "b"):
        write_photo(tmp_path / f"images/{name}.jpg")
        write_grey(tmp_path / f"labels/{name}{end}.png", [0, 1])
    write_text(tmp_path / "splits/train.txt", "a", "b")
    assert load(tmp_path)[1] == ("b", "images/b.jpg", f"labels/b{end}.png")


def test_an_image_may_end_like_a_mask(tmp_path: Path) -> None:
    for name in ("a", "a_mask"):
        write_photo(tmp_path / f"images/{name}.jpg")
        write_grey(tmp_path / f"labels/{name}.png", [0, 1])
    write_text(tmp_path / "splits/train.txt", "a", "a_mask")
    assert [labels for _, _, labels in load(tmp_path)] == ["labels/a.png", "labels/a_mask.png"]


def test_two_masks_of_one_image_are_refused(tmp_path: Path) -> None:
    write_photo(tmp_path / "images/a.jpg")
    for name in ("a", "a_mask"):
        write_grey(tmp_path / f"labels/{name}.png", [0, 1])
    write_text(tmp_path / "splits/train.txt", "a")
    with pytest.raises(ValueError, match=r"a has the masks a.png and a_mask.png in .*; keep one"):
        load(tmp_path)


def test_masks_of_other_names_are_named(tmp_path: Path) -> None:
    write_photo(tmp_path / "images/a.jpg")
    write_grey(tmp_path / "labels/a_colour.png", [0, 1])
    write_text(tmp_path / "splits/train.txt", "a")
    says = r"first .*labels/a\.\*; .* same stem; labels/a_colour.png may be meant"
    with pytest.raises(FileNotFoundError, match=says):
        load(tmp_path)


@pytest.mark.parametrize("pattern", ["{kind}/{split}", "{split}/{kind}"])
def test_each_split_may_have_its_folder(tmp_path: Path, pattern: str) -> None:
    for split, names in (("train", "ab"), ("val", "c")):
        for name in names:
            images, labels = (pattern.format(kind=k, split=split) for k in ("images", "labels"))
            write_photo(tmp_path / images / f"{name}.jpg")
            write_grey(tmp_path / labels / f"{name}_mask.png", [0, 1 if name == "a" else 2])
    images, labels = (pattern.format(kind=k, split="train") for k in ("images", "labels"))
    assert load(tmp_path)[0] == ("a", f"{images}/a.jpg", f"{labels}/a_mask.png")
    assert [name for name, _, _ in load(tmp_path, "val")] == ["c"]
    assert load_dataset("folder", tmp_path, split="val").label_set.num_classes == 3
    with pytest.raises(FileNotFoundError, match=r"test.txt does not exist.*there are train, val"):
        load(tmp_path, "test")


@pytest.mark.parametrize("pattern", ["{kind}/{split}", "{split}/{kind}"])
def test_whether_masks_are_black_and_white_is_judged_over_all_splits(
    tmp_path: Path, pattern: str
) -> None:
    write_text(tmp_path / "classes.txt", "wall", "crack")
    for split, values in (("train", [0, 1, 255]), ("val", [0, 255, 255])):
        write_photo(tmp_path / pattern.format(kind="images", split=split) / "a.jpg")
        write_grey(tmp_path / pattern.format(kind="labels", split=split) / "a.png", values)
    with pytest.raises(ValueError, match="hold only 0 and 255, but those of other splits also"):
        load(tmp_path, "val")
    write_grey(tmp_path / pattern.format(kind="labels", split="train") / "a.png", [0, 255, 0])
    sample = load_dataset("folder", tmp_path, split="val")[0]
    assert sample.labels.ravel()[:3].tolist() == [0, 1, 1]


def test_a_split_in_two_places_is_refused(tmp_path: Path) -> None:
    for images in ("images/train", "train/images"):
        write_photo(tmp_path / images / "a.jpg")
    with pytest.raises(ValueError, match=r"in both .*images/train and .*train/images; keep one"):
        load(tmp_path)


def test_the_folders_of_voc_and_cvat_are_read(tmp_path: Path) -> None:
    write_photo(tmp_path / "JPEGImages/a.jpg")
    write_grey(tmp_path / "SegmentationClass/a.png", [0, 1])
    write_text(tmp_path / "ImageSets/Segmentation/default.txt", "a")
    assert load(tmp_path, "default") == [("a", "JPEGImages/a.jpg", "SegmentationClass/a.png")]
    with pytest.raises(FileNotFoundError, match=r"train.txt does not exist.*there are default"):
        load(tmp_path)


def test_missing_lists_name_the_command_that_writes_them(tmp_path: Path) -> None:
    write_photo(tmp_path / "images/a.jpg")
    write_grey(tmp_path / "labels/a.png", [0, 1])
    says = r"splits/train.txt does not exist; .* `atrous split .*` writes lists for train and val"
    with pytest.raises(FileNotFoundError, match=says):
        load(tmp_path)
    write_text(tmp_path / "train.txt", "a")
    with pytest.raises(FileNotFoundError, match=r"; move train.txt from .* into .*splits"):
        load(tmp_path)


def test_a_folder_of_another_kind_names_what_it_holds(tmp_path: Path) -> None:
    for name in ("imgs", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"images is not a folder.* holds imgs/, masks/"):
        load(tmp_path)


def test_an_empty_folder_of_a_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    write_text(tmp_path / "images/train/notes.md", "x")
    with pytest.raises(FileNotFoundError, match=r"train holds no images, but notes.md"):
        load(tmp_path)
