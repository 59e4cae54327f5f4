"""Split lists: reproducible, by class, near-duplicates together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset, split_folder

from .test_duplicates import picture
from .trees import write_text


def write(root: Path, name: str, classes: list[int], *, seed: int, mirrored: bool = False) -> None:
    """Write an image of random colours, and a mask with these classes."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(exist_ok=True)
    pixels = picture(seed, (48, 64))
    Image.fromarray(pixels[:, ::-1] if mirrored else pixels).save(root / f"images/{name}.png")
    labels = np.resize(np.array(classes, np.uint8), (48, 64))
    Image.fromarray(labels).save(root / f"labels/{name}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty images: class 1 in every second, class 2 in ten, class 3 in one."""
    for index in range(40):
        classes = [0, 255] + [1] * (index % 2) + [2] * (index % 4 == 0) + [3] * (index == 5)
        write(tmp_path, f"p{index:02d}", classes, seed=index)
    write_text(tmp_path / "classes.txt", "a", "b", "c", "d")
    return tmp_path


def count(root: Path, split: str) -> list[int]:
    """Count the images with each class."""
    shown = [set(np.unique(s.labels)) for s in load_dataset("folder", root, split=split)]
    return [sum(index in classes for classes in shown) for index in range(4)]


def test_every_class_has_its_share_in_each_split(root: Path) -> None:
    lists = split_folder(root, val=0.2)
    assert (len(lists.names["train"]), len(lists.names["val"])) == (32, 8)
    assert count(root, "train") == [32, 16, 8, 1]
    assert count(root, "val") == [8, 4, 2, 0]
    assert not set(lists.names["train"]) & set(lists.names["val"])
    assert lists.num_grouped == 0


def test_a_third_split_is_written_if_asked_for(root: Path) -> None:
    lists = split_folder(root, val=0.25, test=0.25)
    assert [len(lists.names[split]) for split in ("train", "val", "test")] == [20, 10, 10]
    assert sum(count(root, "test")[:2]) == 10 + 5
    assert sorted(sum(lists.names.values(), ())) == [f"p{index:02d}" for index in range(40)]


def test_the_same_seed_gives_the_same_lists(root: Path) -> None:
    first = split_folder(root, seed=3).names
    for name in ("p07", "p00"):  # other order on disk, other times
        content = (root / f"images/{name}.png").read_bytes()
        (root / f"images/{name}.png").unlink()
        (root / f"images/{name}.png").write_bytes(content)
    assert split_folder(root, seed=3, overwrite=True).names == first
    assert split_folder(root, seed=4, overwrite=True).names != first
    assert (root / "splits/val.txt").read_text().split() == list(
        split_folder(root, seed=4, overwrite=True).names["val"]
    )


@pytest.mark.parametrize("seed", range(4))
def test_near_duplicates_are_in_one_split(root: Path, seed: int) -> None:
    for index in range(0, 40, 2):
        write(root, f"q{index:02d}", [0, 2], seed=index, mirrored=True)
    lists = split_folder(root, val=0.3, seed=seed)
    assert lists.num_grouped == 40
    for names in lists.names.values():
        doubled = {name[1:] for name in names if name.startswith("q")}
        assert doubled == {n[1:] for n in names if n.startswith("p") and int(n[1:]) % 2 == 0}
    assert 15 <= len(lists.names["val"]) <= 21  # of 60


def test_a_chain_of_near_duplicates_is_one_group(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, name, [0, 1], seed=1)
    with pytest.raises(
        ValueError, match=r"3 images of .* form 1 group\(s\) of near-duplicates, but"
    ):
        split_folder(tmp_path)
    assert not (tmp_path / "splits").exists()
    write(tmp_path, "d", [0, 1], seed=2)
    lists = split_folder(tmp_path)
    assert lists.names == {"train": ("a", "b", "c"), "val": ("d",)}


def test_images_without_a_mask_are_left_out(root: Path) -> None:
    (root / "labels/p07.png").unlink()
    (root / "labels/p08.png").rename(root / "labels/p08_mask.png")
    lists = split_folder(root)
    assert lists.unlabelled == ("p07",)
    names = sum(lists.names.values(), ())
    assert "p08" in names
    assert "p07" not in names


def test_masks_without_a_known_pixel_are_divided_too(tmp_path: Path) -> None:
    for index in range(10):
        write(tmp_path, f"p{index}", [255], seed=index)
    assert [len(names) for names in split_folder(tmp_path).names.values()] == [8, 2]


def test_existing_lists_are_kept(root: Path) -> None:
    split_folder(root, test=0.1)
    before = (root / "splits/train.txt").read_text()
    with pytest.raises(FileExistsError, match=r"lists of train, val, test; give --overwrite"):
        split_folder(root, seed=1)
    with pytest.raises(FileExistsError, match=r"remove test.txt, which would share images"):
        split_folder(root, seed=1, overwrite=True)
    assert (root / "splits/train.txt").read_text() == before
    split_folder(root, seed=1, test=0.1, overwrite=True)
    assert (root / "splits/train.txt").read_text() != before


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"val": 0.0}, "val is 0 and test is 0; val must be above 0"),
        ({"val": 0.6, "test": 0.4}, "both together below 1"),
        ({"val": float("nan")}, "val is nan"),
        ({"test": -0.1}, "test is -0.1"),
    ],
)
def test_shares_that_leave_nothing_are_refused(root: Path, shares, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        split_folder(root, **shares)


def test_folders_of_another_kind_are_named(root: Path) -> None:
    (root / "labels").rename(root / "masks")
    with pytest.raises(
        FileNotFoundError, match=r"no folders images and labels, but classes.txt, i"
    ):
        split_folder(root)
    (root / "labels").mkdir()
    with pytest.raises(ValueError, match=r"none of the 40 images in .* has a mask in .*labels"):
        split_folder(root)
    (root / "images").rename(root / "train")
    (root / "images").mkdir()
    (root / "train").rename(root / "images/train")
    with pytest.raises(FileNotFoundError, match=r"images holds no images, but train/"):
        split_folder(root)


def test_labels_that_are_no_class_are_refused(root: Path) -> None:
    write_text(root / "classes.txt", "a", "b")
    with pytest.raises(ValueError, match=r"p00.png holds the labels \[2\], but .* classes 0-1"):
        split_folder(root)
    assert not (root / "splits").exists()
